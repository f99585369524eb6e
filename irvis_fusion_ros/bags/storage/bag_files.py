"""Which files belong to a bag, and what its metadata.yaml says that they hold."""

from __future__ import annotations

import filecmp
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Union

from irvis_fusion_core.bounded_file import open_regular, parse_yaml, read_text
from irvis_fusion_core.errors import FileContentError
from irvis_fusion_ros.bags.bag_error import COPY_AGAIN, BagError, unreadable
from irvis_fusion_ros.bags.storage import mcap_file, sqlite_file
from irvis_fusion_ros.bags.storage.decompression import ZSTD_MAGIC
from irvis_fusion_ros.bags.storage.mcap_file import McapFile
from irvis_fusion_ros.bags.storage.scratch import unpacked
from irvis_fusion_ros.bags.storage.sqlite_file import SqliteFile, files_beside
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic, plain_type

SUFFIXES = {".db3": "sqlite3", ".mcap": "mcap"}
"""Suffix of a storage file -> name of its storage."""
PACKED = (".zstd", ".zst")
_ARCHIVES = (b"\x1f\x8b", b"PK\3\4", b"\xfd7zXZ", b"BZh", b"7z\xbc\xaf")  # gzip, zip, xz, ...
METADATA = "metadata.yaml"
_METADATA_BYTES = 16 * 1024 * 1024

StorageFile = Union[SqliteFile, McapFile]


class BagFiles(NamedTuple):
    """The storage files of a bag in their order."""

    files: list[Path]
    topics: list[StoredTopic] | None = None  # of metadata.yaml, with the messages that it states
    problem: str = ""  # what is wrong with metadata.yaml
    hints: tuple[str, ...] = ()  # where messages may have gone, if some are missing


def find_files(bag: str) -> BagFiles:
    """Return the files of a bag: a folder or its metadata.yaml, or a storage file.

    Raises:
        BagError: Nothing is there.
    """
    folder = Path(bag)
    if not folder.is_dir():
        if not folder.exists():
            raise BagError(
                "expected a ROS 2 bag (a folder with metadata.yaml, a .db3 or a .mcap), found "
                f"nothing at {bag}"
            )
        if folder.name != METADATA:
            return BagFiles([folder])
        folder = folder.parent
    # macOS puts ._a.mcap next to a.mcap on other file systems.
    names = (path for path in folder.iterdir() if not path.name.startswith("._"))
    there = _in_order(path for path in names if storage_of_name(path))
    # A recorder that is killed while it compresses leaves both: the other is complete.
    plain = {path.name for path in there}
    there = [p for p in there if not (p.suffix in PACKED and p.stem in plain)]
    if not (folder / METADATA).exists():
        return _not_empty(bag, BagFiles(_without_copies(there)))
    try:
        listed, topics = _read_metadata(folder / METADATA)
    except FileContentError as error:
        return _not_empty(
            bag, BagFiles(there, None, f"{folder / METADATA} is unreadable: {error}")
        )
    found = {name: _find(folder, name) for name in listed}
    files = [path for path in found.values() if path is not None]
    absent = [name for name, path in found.items() if path is None]
    hints = [f"{name}, which metadata.yaml lists, is not there" for name in absent]
    added = [p for p in there if p not in files and (not files or absent or _continues(p, files))]
    hints += [f"{path.name} is there, and metadata.yaml does not list it" for path in added]
    if not files + added:
        raise unreadable(
            bag, f"none of the storage files that metadata.yaml lists ({', '.join(absent)})",
            "; copy them into the folder",
        )  # fmt: skip
    return BagFiles(_in_order(files + added), topics, "", tuple(hints))


def open_file(path: Path) -> StorageFile:
    """Open a storage file by its first bytes, whatever its name is.

    Raises:
        BagError: It cannot be read.
        OSError: The file system does not give it.
    """
    why, origin, head = "", path, _first_bytes(path)
    if head[:4] == ZSTD_MAGIC:
        path, why = unpacked(path)
        head = _first_bytes(path)
    if head.startswith(b"#ROSBAG"):
        raise unreadable(
            path, "a bag of ROS 1",
            f"; convert it with `rosbags-convert --src {shlex.quote(str(path))} --dst "
            f"{shlex.quote(str(path.with_suffix('')))}`",
        )  # fmt: skip
    # The first pages of a database may be in its write-ahead log alone.
    is_database = SUFFIXES.get(path.suffix) == "sqlite3" and (head or files_beside(path))
    file: StorageFile
    if head[:8] == mcap_file.MAGIC:
        file = McapFile(path, origin)
    elif head == sqlite_file.MAGIC or is_database:
        file = SqliteFile(path, origin)
    else:
        if head.startswith(_ARCHIVES):
            raise unreadable(origin, "an archive or a file that is compressed", "; unpack it")
        what = "an empty file" if not head else "neither SQLite nor MCAP"
        raise unreadable(origin, what, COPY_AGAIN)
    if why:
        file.problem = f"{origin} {why}" + (file.problem and "; " + file.problem)
    return file


def _first_bytes(path: Path) -> bytes:
    with open_regular(str(path)) as stream:
        return stream.read(16)


def storage_of(bag: str) -> str:
    """Return "sqlite3" or "mcap", by the name of the first storage file or its first bytes.

    Raises:
        BagError: There is none.
    """
    first = find_files(bag).files[0]
    name = storage_of_name(first)
    if name:
        return name
    file = open_file(first)
    file.close()
    return "mcap" if isinstance(file, McapFile) else "sqlite3"


def storage_of_name(path: Path) -> str:
    """Return the storage of x.db3, x.mcap, x.db3.zstd, ... or ""."""
    suffix = Path(path.stem).suffix if path.suffix in PACKED else path.suffix
    return SUFFIXES.get(suffix, "")


def _not_empty(bag: str, found: BagFiles) -> BagFiles:
    if not found.files:
        what = f"a folder without {METADATA}, .db3 and .mcap files"
        inner = sorted(path.parent.name for path in Path(bag).glob(f"*/{METADATA}"))
        raise unreadable(
            bag, what, f"; name one of the bags in it: {', '.join(inner)}" if inner else ""
        )
    return found


def _read_metadata(path: Path) -> tuple[list[str], list[StoredTopic]]:
    """Return the names of the files, and the topics with their counts."""
    size = min(path.stat().st_size, _METADATA_BYTES)  # the buffer is as large as the limit
    tree = parse_yaml(read_text(str(path), size))
    try:
        about = tree["rosbag2_bagfile_information"]
        files = [_relative(str(name)) for name in about["relative_file_paths"]]
        topics = [_metadata_topic(each) for each in about["topics_with_message_count"] or ()]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileContentError(f"{type(error).__name__} {error}") from error
    return files, topics


def _relative(name: str) -> str:
    """Return the path of a listed file; its name alone where it leads out of the folder."""
    path = PurePath(name)
    return path.name if path.is_absolute() or ".." in path.parts else str(path)


def _metadata_topic(entry: Mapping[str, Any]) -> StoredTopic:
    topic = entry["topic_metadata"]
    encoding = str(topic.get("serialization_format") or "cdr")
    kind = plain_type(str(topic["type"]), encoding)
    digest = str(topic.get("type_description_hash") or "")
    count = int(entry["message_count"])
    return StoredTopic(str(topic["name"]), kind, count, "", digest, (), encoding)


def _find(folder: Path, name: str) -> Path | None:
    """Return a listed file, also where it was compressed or decompressed afterwards."""
    bare = str(PurePath(name).with_suffix("")) if PurePath(name).suffix in PACKED else name
    names = [bare, name, *(bare + suffix for suffix in PACKED)]
    names += [PurePath(each).name for each in names]  # in Dashing they began with the folder
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _without_copies(files: Sequence[Path]) -> list[Path]:
    """Leave out files that are the same as an earlier one, whose messages would come twice."""
    kept: list[Path] = []
    for path in files:
        same_size = [each for each in kept if _size(each) == _size(path) > 0]
        if not any(filecmp.cmp(each, path, shallow=False) for each in same_size):
            kept.append(path)
    return kept


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _continues(path: Path, files: Iterable[Path]) -> bool:
    """Return whether a file is a later split of these: name_3.mcap after name_2.mcap."""
    prefix, number = _split_name(path)
    others = [_split_name(file) for file in files]
    numbers = [n for name, n in others if name == prefix and n is not None]
    return number is not None and bool(numbers) and number > max(numbers)


def _split_name(path: Path) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.*)_(\d+)", path.name.split(".")[0])
    return (found.group(1), int(found.group(2))) if found else (path.name, None)


def _in_order(files: Iterable[Path]) -> list[Path]:
    """Sort by the number of the split: name_0.mcap, ..., name_10.mcap."""
    return sorted(files, key=lambda path: (_split_name(path)[1] or 0, path.name))


def count_by_name(topics: Iterable[StoredTopic]) -> Counter[str]:
    """Return the messages by topic; a topic may be there several times."""
    counts: Counter[str] = Counter()
    for topic in topics:
        counts[topic.name] += topic.messages
    return counts
