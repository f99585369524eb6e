"""Read the files of a bag with `rosbags`, also those that a killed recorder left behind."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from irvis_fusion_ros.bags.bag_error import BagError, bag_library, reading_errors
from irvis_fusion_ros.bags.cut_mcap import CutMcap, is_cut

if TYPE_CHECKING:
    from rosbags.interfaces import Qos
    from rosbags.rosbag2 import Reader

SUFFIXES = {".db3": "sqlite3", ".mcap": "mcap"}
"""Suffix of a storage file -> name of its storage."""


class StoredTopic(NamedTuple):
    """A topic of a bag, with everything that another bag has to know about it."""

    name: str
    type: str
    messages: int
    definition: str = ""  # text of the message definition; "" where the bag lacks it
    digest: str = ""  # type hash (REP 2011); "" where the bag lacks it
    qos: Sequence[Qos] = ()


class BagReader:
    """Reads a bag: a folder, or one of its .db3 or .mcap files; a context manager.

    Attributes:
        topics: The topics, sorted by name and type.
    """

    def __init__(self, bag: str) -> None:
        """Open nothing yet.

        Raises:
            BagReaderUnavailableError: `rosbags` is not installed.
            BagError: Nothing is there.
        """
        self._rosbag2 = bag_library("rosbags.rosbag2")
        typesys = bag_library("rosbags.typesys")
        # The types that are decoded here are the same in every distribution.
        self._store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
        if not os.path.exists(bag):
            raise BagError(
                "expected a ROS 2 bag (a folder with metadata.yaml, a .db3 or a .mcap), found "
                f"nothing at {bag}"
            )
        self._bag = os.fspath(bag)
        self._stack = contextlib.ExitStack()
        self._readers: list[Reader | CutMcap] = []
        self.topics: list[StoredTopic] = []

    def __enter__(self) -> BagReader:
        with reading_errors(self._bag):
            self._open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def messages(self, topics: Sequence[StoredTopic]) -> Iterator[tuple[StoredTopic, int, bytes]]:
        """Yield (topic, time of recording in ns, bytes) of these topics, in order of recording."""
        wanted = {topic[:2]: topic for topic in topics}
        for reader in self._readers:
            chosen = [c for c in reader.connections if (c.topic, c.msgtype) in wanted]
            if not chosen and not isinstance(reader, CutMcap):
                continue  # rosbags takes an empty list for every topic; CutMcap tells the cut
            for connection, recorded_ns, raw in reader.messages(chosen):
                yield wanted[connection.topic, connection.msgtype], recorded_ns, raw

    def decode(self, raw: bytes, kind: str) -> Any:
        """Return the message of type `kind` that `raw` holds."""
        return self._store.deserialize_cdr(raw, kind)

    def _open(self) -> None:
        with contextlib.ExitStack() as stack:
            for path in _unfinished_files(self._bag) or [Path(self._bag)]:
                cut = path.is_file() and is_cut(path)
                reader = CutMcap(path) if cut else self._rosbag2.Reader(path)
                self._readers.append(stack.enter_context(reader))
            self._stack = stack.pop_all()
        merged: dict[tuple[str, str], StoredTopic] = {}
        for each in (c for reader in self._readers for c in reader.connections):
            topic = StoredTopic(
                each.topic, each.msgtype, each.msgcount, each.msgdef.data, each.digest,
                getattr(each.ext, "offered_qos_profiles", ()),
            )  # fmt: skip
            first = merged.get(topic[:2], topic._replace(messages=0))
            merged[topic[:2]] = first._replace(messages=first.messages + topic.messages)
        self.topics = [merged[key] for key in sorted(merged)]
        for reader in self._readers if not merged else ():
            next(reader.messages([]), None)  # raises where the reason is a cut


def storage_of(bag: str) -> str:
    """Return "sqlite3" or "mcap", by the name of a file or by metadata.yaml.

    Raises:
        BagError: metadata.yaml cannot be read.
    """
    files = _unfinished_files(bag) or [Path(bag)]
    if files[0].suffix in SUFFIXES:
        return SUFFIXES[files[0].suffix]
    with reading_errors(bag), open(files[0] / "metadata.yaml", encoding="utf-8") as stream:
        found = re.search(r"storage_identifier:\s*['\"]?(\w+)", stream.read())
    return found.group(1) if found else "sqlite3"


def _unfinished_files(bag: str) -> list[Path]:
    """Return the storage files of a folder that lacks metadata.yaml or has a cut MCAP file."""
    folder = Path(bag)
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.suffix in SUFFIXES]
    if (folder / "metadata.yaml").exists() and not any(map(is_cut, files)):
        return []
    return sorted(files, key=_number)


def _number(path: Path) -> tuple[int, str]:
    """Return the place of a storage file in its bag: name_0.mcap, ..., name_10.mcap."""
    digits = re.search(r"_(\d+)$", path.stem)
    return (int(digits.group(1)) if digits else 0, path.name)
