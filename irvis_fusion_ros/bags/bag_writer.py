"""Write a bag, under a temporary name until it is complete.

    with BagWriter("fused", storage="mcap") as writer:
        writer.write_message("/fused/image_raw", IMAGE, recorded_ns, message)

The bag grows in `fused.part/fused`. When the block ends without an error, it is read again,
its messages are counted, and it gets its name. After an error the messages written so far stay
there, readable where the disk allows, and `fused.part/UNFINISHED.txt` says why. The next run
removes them, or goes on with them.

metadata.yaml has version 8, which the rosbag2 of Humble, Jazzy and Kilted reads: from version 9
on, QoS profiles are a list, where Humble expects text.
"""

from __future__ import annotations

import array
import contextlib
import copy
import errno
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_ros.bags.bag_error import BagError, bag_library
from irvis_fusion_ros.bags.bag_place import BagPlace, count_readable
from irvis_fusion_ros.bags.bag_storage import BagReader
from irvis_fusion_ros.bags.storage.bag_files import SUFFIXES
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic, message_types

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Writer

STORAGES = tuple(dict.fromkeys(SUFFIXES.values()))
METADATA_VERSION = 8
COMMIT_EVERY = 32
"""Messages between two commits to SQLite: at most these are lost when a run is killed."""
UNKNOWN_DIGEST = "RIHS01_" + 64 * "0"


class BagWriter:
    """Writes one bag; a context manager.

    Attributes:
        messages: Number of messages written.
        place: Where the bag grows, and where it goes.
    """

    def __init__(
        self,
        path: str,
        storage: str = "sqlite3",
        overwrite: bool = False,
        compress: bool = False,
        resume: bool = False,
    ) -> None:
        """Check that the bag may be written; create nothing yet.

        `storage` is "sqlite3" or "mcap". `overwrite` replaces a bag of that name when the new one
        is complete. `compress` uses zstd, for chunks of an MCAP file or each message in SQLite.
        `resume` keeps what an interrupted run has written, see `identify`.

        Raises:
            ConfigurationError: Another storage.
            BagError: The name is taken, by a bag without `overwrite` or by anything else; or
                `rosbags` is not installed.
        """
        if storage not in STORAGES:
            raise ConfigurationError(
                f"expected a storage out of {', '.join(STORAGES)}, found {storage!r}"
            )
        self.messages = 0
        self._run: Mapping[str, object] | None = None
        self.place = BagPlace(path, overwrite)
        self._store = message_types()
        self._connections: dict[tuple[str, str], Connection] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._storage, self._compress, self._resume = storage, compress, resume
        self._failed = False

    def identify(self, run: Mapping[str, object]) -> None:
        """Say, before the block, what determines the messages: only the same run goes on."""
        self._run = run

    def __enter__(self) -> BagWriter:
        with self._errors_named():
            self.place.open(self._run, self._resume)
            try:
                self._writer = self._new_writer()
                self._writer.open()
            except BaseException:
                if self.place.before is None:
                    self.place.remove()
                self.place.leave()  # an interrupted run stays for the next try
                raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            return self._keep(error)
        try:
            with self._errors_named():
                self._writer.close()
                self._count_again()
                self.place.finish()
        except FusionError as unfinished:
            self._keep(unfinished)
            raise

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic, which is then in the bag even without messages; once is enough.

        Raises:
            BagError: The bag cannot be written.
        """
        if topic[:2] in self._connections:
            return
        definition: dict[str, Any] = {"typestore": self._store}
        if topic.definition or topic.type not in self._store.types:
            digest = topic.digest or self._digest(topic)
            definition = {"msgdef": topic.definition, "rihs01": digest}
        with self._errors_named():
            self._connections[topic[:2]] = self._writer.add_connection(
                topic.name, topic.type, offered_qos_profiles=topic.qos, **definition
            )

    def write_raw(self, topic: str, kind: str, recorded_ns: int, raw: bytes) -> None:
        """Write a serialized message; raise as `add_topic`."""
        self.add_topic(StoredTopic(topic, kind, 0))
        with self._errors_named():
            self._writer.write(self._connections[topic, kind], recorded_ns, raw)
            self._counts[topic, kind] += 1
            self.messages += 1
            if self.messages % COMMIT_EVERY == 0:
                self._commit()

    def write_message(self, topic: str, kind: str, recorded_ns: int, message: object) -> None:
        """Write any object that has the fields of `kind`; raise as `add_topic`."""
        self.write_raw(topic, kind, recorded_ns, self.serialize(message, kind))

    def serialize(self, message: Any, kind: str) -> bytes:
        """Return the CDR bytes of a message, to be written later; raise as `add_topic`."""
        data = getattr(message, "data", None)
        if isinstance(data, (array.array, bytes, bytearray, memoryview)):
            message = copy.copy(message)
            message.data = np.frombuffer(data, np.uint8)  # rosbags needs an array
        with self._errors_named():
            raw = bytes(self._store.serialize_cdr(message, kind))
        return raw

    def _new_writer(self) -> Writer:
        rosbag2 = bag_library("rosbags.rosbag2")
        plugin, mode = rosbag2.StoragePlugin[self._storage.upper()], rosbag2.CompressionMode
        writer: Writer = _writer_of_any_path(rosbag2)(
            Path(self.place.unfinished), version=METADATA_VERSION, storage_plugin=plugin
        )
        if self._compress:
            what = mode.STORAGE if self._storage == "mcap" else mode.MESSAGE
            writer.set_compression(what, rosbag2.CompressionFormat.ZSTD)
        return writer

    def _count_again(self) -> None:
        """Read the finished bag; raise BagError unless it holds what was written."""
        found: Counter[tuple[str, str]] = Counter()
        with BagReader(self.place.unfinished) as reader:
            for topic, _, _ in reader.messages(reader.topics):
                found[topic[:2]] += 1
        if found != self._counts:
            count = sum(found.values())
            raise BagError(
                f"expected {self.messages} messages in {self.place.unfinished}, found {count}: "
                "the disk did not keep what was written"
            )

    def _commit(self) -> None:
        # rosbags uses one transaction for a whole bag, which is lost when a run is killed.
        connection = getattr(self._writer.storage, "conn", None)
        if connection is not None:
            connection.commit()

    def _digest(self, topic: StoredTopic) -> str:
        """Return the type hash by the bag's own definition; old bags lack the hash."""
        store = self._store
        try:
            if topic.type not in store.types:
                typesys = bag_library("rosbags.typesys")
                store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
                store.register(typesys.get_types_from_msg(topic.definition, topic.type))
            return str(store.hash_rihs01(topic.type))
        except Exception:  # noqa: BLE001 - definitions may be of any kind; players need no hash
            return UNKNOWN_DIGEST

    def _keep(self, error: BaseException) -> None:
        """Close the unfinished bag, so that it can be read, and mark it as incomplete."""
        try:
            if self._writer.storage is not None:
                self._writer.close()
        except Exception:  # noqa: BLE001 - the disk is full; keep what was written
            for close in (self._commit, self._writer.abort):
                with contextlib.suppress(Exception):
                    close()
        kept = count_readable(self.place.unfinished)
        if self._failed and isinstance(error, FusionError):
            where = (
                f"{kept} messages are kept in {self.place.unfinished}"
                if kept
                else "nothing is kept"
            )
            error.args = (f"{error} ({where})",)
        if not kept and self.place.before is None:
            return self.place.remove()
        with contextlib.suppress(OSError):  # the disk is full: the first mark stands there
            self.place.mark(f"It ended with {type(error).__name__}: {error}")
            self.place.mark(f"Messages that can be read: {kept}")
        self.place.leave()

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except FusionError:
            raise
        except Exception as error:  # of rosbags, SQLite, the file system
            self._failed = True
            number = getattr(error, "errno", None)
            advice = "make the place writable, or free room if it is full, and start again"
            if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "full" in str(error):
                advice = "make room, or write to another disk, and start again"
            advice += " with --resume" if self._run is not None else ""
            if number in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.EINVAL):
                advice = "choose another name or place"
            raise BagError(
                f"expected to write a bag to {self.place.path}, found: "
                f"{type(error).__name__}: {error}; {advice}"
            ) from error


def _writer_of_any_path(rosbag2: Any) -> Any:
    """Return the class of writers of `rosbags`, for paths of any characters.

    `rosbags` names an SQLite file by a URI without escapes, which `#` and `?` end: the messages go
    to another file.
    """
    sqlite_writer = bag_library("rosbags.rosbag2.storage_sqlite3").Sqlite3Writer

    class PlainSqliteWriter(sqlite_writer):  # type: ignore[misc, valid-type]
        def __init__(self, path: Path, compression: Any) -> None:
            assert compression != rosbag2.CompressionMode.STORAGE  # SQLite has none
            self.path = path / f"{path.name}.db3"
            self.conn = sqlite3.connect(self.path)
            self.conn.execute("PRAGMA synchronous = OFF")  # it is flushed once, when complete
            self.conn.executescript(self.SQLITE_SCHEMA)
            self.cursor = self.conn.cursor()

    class PlainWriter(rosbag2.Writer):  # type: ignore[misc, name-defined]
        STORAGE_PLUGINS = {
            **rosbag2.Writer.STORAGE_PLUGINS,
            rosbag2.StoragePlugin.SQLITE3: PlainSqliteWriter,
        }

    return PlainWriter
