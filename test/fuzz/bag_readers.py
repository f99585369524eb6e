"""Recordings: MCAP and SQLite files, and metadata.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path

from fuzz.reader import Reader, folder, new_folder
from made_bags import make_bag, write_pairs
from rosbag2_bags import raw_images, write_mcap

from irvis_fusion_ros.bags.bag import IMAGE_TYPES, all_topics, read_messages
from irvis_fusion_ros.bags.bag_error import BagError, ignore_incomplete
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.storage import scratch
from irvis_fusion_ros.bags.storage.bag_files import METADATA

SIZE = (4, 6)
UNFORESEEN = (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, MemoryError)


def read_bag(path: Path) -> int:
    """Read every message of a bag and decode its images; return their number."""
    try:
        topics = all_topics(str(path))
        names = [topic.name for topic in topics]
        images = [topic.name for topic in topics if topic.type in IMAGE_TYPES]
        count = 0
        for message in read_messages(str(path), images, names, ignore_incomplete):
            assert isinstance(message.recorded_ns, int)
            count += 1
        return count
    except BagError as error:
        if isinstance(error.__cause__, UNFORESEEN):  # the reader makes every error a BagError
            raise error.__cause__ from error
        raise
    finally:  # copies and decompressed files stay until the process ends
        scratch._copied.cache_clear()
        scratch._unpacked.cache_clear()
        while scratch._folders:
            scratch._folders.pop().cleanup()


def read_mcap(data: bytes) -> int:
    """Read an MCAP file."""
    path = new_folder("mcap") / "bag.mcap"
    path.write_bytes(data)
    return read_bag(path)


def read_sqlite(data: bytes) -> int:
    """Read an SQLite file."""
    path = new_folder("sqlite") / "bag.db3"
    path.write_bytes(data)
    return read_bag(path)


def read_metadata(data: bytes) -> int:
    """Read a bag with such a metadata.yaml."""
    path = bag_of("sqlite3")
    (path / METADATA).write_bytes(data)
    return read_bag(path)


def bag_of(storage: str, compress: bool = False) -> Path:
    """Return a bag of our writer: two cameras, an image or two of each."""
    path = folder("bags") / f"{storage}_{compress}"
    if not path.exists():
        pairs = write_pairs(folder("pairs"), 1, SIZE)
        if not compress:
            make_bag(path, pairs, 0.05, storage)
        else:
            plain = str(bag_of(storage))
            names = [topic.name for topic in all_topics(plain)]
            with BagWriter(str(path), storage, compress=True) as writer:
                for found in read_messages(plain, (), names):
                    writer.write_raw(found.topic, found.type, found.recorded_ns, found.raw)
    return path


def storage_files(storage: str) -> list[bytes]:
    """Return the storage files of our writer, plain and compressed."""
    files = [next(bag_of(storage, c).glob("*.[dm]*[!l]")) for c in (False, True)]
    return [file.read_bytes() for file in files]


def mcap_files() -> list[bytes]:
    """Return MCAP files of our writer, and of mcap's own in its variants."""
    from mcap.writer import CompressionType, IndexType

    found, place = storage_files("mcap"), folder("files") / "seed.mcap"
    few = raw_images(1, SIZE)
    for options in (
        {"compression": CompressionType.NONE, "enable_crcs": False},
        {"compression": CompressionType.LZ4, "enable_crcs": False},
        {"compression": CompressionType.ZSTD, "enable_crcs": False},
        {"use_chunking": False, "index_types": IndexType.NONE, "use_statistics": False},
    ):
        found.append(Path(write_mcap(place, few, **options)).read_bytes())
    return found


def sqlite_files() -> list[bytes]:
    """Return SQLite files of our writer, and a compressed one."""
    import zstandard

    found = storage_files("sqlite3")
    return [*found, zstandard.ZstdCompressor().compress(found[0])]


def metadata_files() -> list[bytes]:
    """Return the metadata.yaml of our writer."""
    written = folder("bags") / "sqlite3_False"
    shutil.rmtree(written, ignore_errors=True)  # its metadata.yaml may be fuzzed
    return [(bag_of("sqlite3") / METADATA).read_bytes()]


BAGS = (BagError,)
READERS = (
    Reader("MCAP files", read_mcap, mcap_files, BAGS, ("mcap",), longest=16384),
    Reader("SQLite files", read_sqlite, sqlite_files, BAGS, longest=65536),
    Reader("metadata.yaml", read_metadata, metadata_files, BAGS, ("yaml",), longest=8192),
)
