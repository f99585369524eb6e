"""What reads the files of a bag: `rosbags`, or ROS's own `rosbag2_py` where that is installed.

A reader is a context manager with `topics`, `messages(topics)` and `decode(raw, type)`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.bags.bag_error import BagError, BagReaderUnavailableError
from irvis_fusion_ros.bags.cut_mcap import CutMcap, is_cut
from irvis_fusion_ros.bags.cut_sqlite import CutSqlite

SUFFIXES = {".db3": "sqlite3", ".mcap": "mcap"}
"""Storage files, and the name of their storage."""


class StoredTopic(NamedTuple):
    """A topic of a bag, with what another bag must be told of it.

    `definition` is the text of the message definition, "" where the bag does not hold it;
    `digest` its type hash (REP 2011), "" as well; `qos` what the storage library makes of it.
    """

    name: str
    type: str
    messages: int
    definition: str = ""
    digest: str = ""
    qos: Any = ()


def open_reader(bag: str) -> Any:
    """A reader of `bag`: a folder, or one of its .db3 or .mcap files.

    Raises:
        BagReaderUnavailableError: there is no library to read it with.
        BagError: nothing is there.
    """
    rosbags = rosbags_or_none("rosbags.rosbag2")
    rosbag2_py = None if rosbags else rosbag2_py_or_none()
    if rosbags is None and rosbag2_py is None:
        raise unavailable("reads")
    if not os.path.exists(bag):
        raise BagError(
            "expected a ROS 2 bag (a folder with metadata.yaml, a .db3 or a .mcap), found nothing "
            f"at {bag}"
        )
    return RosbagsReader(bag) if rosbags else Rosbag2Reader(bag, rosbag2_py)


@contextlib.contextmanager
def errors_named(bag: str) -> Iterator[None]:
    """What goes wrong within the storage libraries, as BagError."""
    try:
        yield
    except FusionError:
        raise
    except Exception as error:  # rosbags' own, SQLite's, zstd's, OSError, struct.error ...
        raise BagError(
            f"expected {bag} to be a readable ROS 2 bag, found: {type(error).__name__}: {error}; "
            "if its recording was cut off, try `ros2 bag reindex` or `mcap recover` on a copy"
        ) from error


class RosbagsReader:
    """Reads with `rosbags`; what a killed recorder left behind is read file by file."""

    def __init__(self, bag: str) -> None:
        """Nothing is opened yet."""
        self._rosbag2 = importlib.import_module("rosbags.rosbag2")
        typesys = importlib.import_module("rosbags.typesys")
        # The types that are decoded here are the same in every distribution.
        self._store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
        self._paths = _unfinished_files(bag) or [Path(bag)]
        self._stack = contextlib.ExitStack()
        self._readers: List[Any] = []
        self.topics: List[StoredTopic] = []

    def __enter__(self) -> RosbagsReader:
        with contextlib.ExitStack() as stack:
            for path in self._paths:
                self._readers += self._open(path, stack)
            self._stack = stack.pop_all()
        merged: Dict[Tuple[str, str], StoredTopic] = {}
        for reader in self._readers:
            for each in reader.connections:
                key = (each.topic, each.msgtype)
                first = merged.get(key) or StoredTopic(
                    each.topic,
                    each.msgtype,
                    0,
                    each.msgdef.data,
                    each.digest,
                    each.ext.offered_qos_profiles,
                )
                merged[key] = first._replace(messages=first.messages + each.msgcount)
        self.topics = [merged[key] for key in sorted(merged)]
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def _open(self, path: Path, stack: contextlib.ExitStack) -> List[Any]:
        """Readers of `path`, closed by `stack`; where it is damaged, of what is before that."""
        if path.is_file() and is_cut(path):
            return [stack.enter_context(CutMcap(path))]
        try:
            return [stack.enter_context(self._rosbag2.Reader(path))]
        except Exception as error:
            files = sorted(path.glob("*.db3"), key=_number) if path.is_dir() else [path]
            if "malformed" not in str(error) or not files:  # SQLite's word for a missing page
                raise
            cut = [CutSqlite(file) for file in files if file.suffix == ".db3"]
            return [stack.enter_context(each) for each in cut]

    def messages(self, topics: Sequence[StoredTopic]) -> Iterator[Tuple[StoredTopic, int, bytes]]:
        """(topic, time of recording in ns, bytes) of these topics, in order of recording."""
        wanted = {(topic.name, topic.type): topic for topic in topics}
        for reader in self._readers:
            chosen = [c for c in reader.connections if (c.topic, c.msgtype) in wanted]
            if not chosen:
                continue  # rosbags takes an empty list for every topic
            for connection, recorded_ns, raw in reader.messages(chosen):
                yield wanted[connection.topic, connection.msgtype], recorded_ns, raw

    def decode(self, raw: bytes, kind: str) -> Any:
        """The message that `raw` holds."""
        return self._store.deserialize_cdr(raw, kind)


class Rosbag2Reader:
    """Reads with ROS's own `rosbag2_py`, and decodes with rclpy."""

    def __init__(self, bag: str, rosbag2_py: Any) -> None:
        """Nothing is opened yet."""
        self._bag = bag
        self._library = rosbag2_py
        self.topics: List[StoredTopic] = []

    def __enter__(self) -> Rosbag2Reader:
        info = self._library.Info().read_metadata(self._bag, storage_of(self._bag))
        mode = getattr(info, "compression_mode", "")
        self._compressed = mode.lower() not in ("", "none")
        for each in info.topics_with_message_count:
            of = each.topic_metadata
            digest = getattr(of, "type_description_hash", "")
            self.topics.append(StoredTopic(of.name, of.type, each.message_count, "", digest, of))
        self.topics.sort(key=lambda topic: topic[:2])
        return self

    def __exit__(self, *exception: Any) -> None:
        return None

    def messages(self, topics: Sequence[StoredTopic]) -> Iterator[Tuple[StoredTopic, int, bytes]]:
        """(topic, time of recording in ns, bytes) of these topics, in order of recording."""
        library = self._library
        name = "SequentialCompressionReader" if self._compressed else "SequentialReader"
        reader = getattr(library, name)()
        reader.open(
            library.StorageOptions(uri=self._bag, storage_id=storage_of(self._bag)),
            library.ConverterOptions("cdr", "cdr"),
        )
        wanted = {topic.name: topic for topic in topics}
        reader.set_filter(library.StorageFilter(topics=sorted(wanted)))
        while reader.has_next():
            topic, raw, recorded_ns = reader.read_next()
            yield wanted[topic], recorded_ns, raw

    def decode(self, raw: bytes, kind: str) -> Any:
        """The message that `raw` holds."""
        serialization = importlib.import_module("rclpy.serialization")
        utilities = importlib.import_module("rosidl_runtime_py.utilities")
        return serialization.deserialize_message(raw, utilities.get_message(kind))


def storage_of(bag: str) -> str:
    """'sqlite3' or 'mcap', as metadata.yaml or the file's name says it."""
    suffix = os.path.splitext(bag)[1]
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    with open(os.path.join(bag, "metadata.yaml"), encoding="utf-8") as stream:
        found = re.search(r"storage_identifier:\s*['\"]?(\w+)", stream.read())
    return found.group(1) if found else "sqlite3"


def storage_of_any(bag: str) -> str:
    """As `storage_of`, also for a folder whose recording was killed before metadata.yaml."""
    files = _unfinished_files(bag)
    with errors_named(bag):
        return storage_of(str(files[0]) if files else bag)


def rosbags_or_none(module: str) -> Any:
    """A module of `rosbags`, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def rosbag2_py_or_none() -> Any:
    """ROS's `rosbag2_py`, or None where it is not installed."""
    try:
        return importlib.import_module("rosbag2_py")
    except ImportError:
        return None


def unavailable(does: str) -> BagReaderUnavailableError:
    """What to say where neither library is there; `does` is "reads" or "writes"."""
    return BagReaderUnavailableError(
        f"expected the Python package rosbags, which {does} bags, or ROS's own rosbag2_py, found "
        "neither; install one with `pip install 'irvis_fusion[bag]'` (Python 3.10 or newer), or "
        "source a ROS 2 that has ros-<distro>-rosbag2-py"
    )


def _unfinished_files(bag: str) -> List[Path]:
    """The storage files of a folder that lacks metadata.yaml, or has an MCAP that is cut off."""
    folder = Path(bag)
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.suffix in SUFFIXES]
    if (folder / "metadata.yaml").exists() and not any(map(is_cut, files)):
        return []

    return sorted(files, key=_number)


def _number(path: Path) -> Tuple[int, str]:
    """The place of a storage file among a bag's: name_0.mcap, ..., name_10.mcap."""
    digits = re.search(r"_(\d+)$", path.stem)
    return (int(digits.group(1)) if digits else 0, path.name)
