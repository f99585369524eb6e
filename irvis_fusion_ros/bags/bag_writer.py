"""Write a bag, under a temporary name until it is complete.

    with BagWriter("fused", storage="mcap") as writer:
        writer.write_message("/fused/image_raw", IMAGE, recorded_ns, message)

The bag grows in `fused.part/fused` and gets its name when the block ends without an error. After
an error the messages written so far stay there, readable where the disk allows, and
`fused.part/UNFINISHED.txt` says why. The next run removes them.
"""

from __future__ import annotations

import array
import contextlib
import copy
import errno
import importlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_ros.bags.bag_error import BagError, bag_library
from irvis_fusion_ros.bags.bag_storage import SUFFIXES, StoredTopic

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Writer

STORAGES = tuple(SUFFIXES.values())
MARK = "UNFINISHED.txt"
COMMIT_EVERY = 32
"""Messages between two commits to SQLite: at most these are lost when a run is killed."""
UNKNOWN_DIGEST = "RIHS01_" + 64 * "0"


class BagWriter:
    """Writes one bag; a context manager.

    Attributes:
        messages: Number of messages written.
        path: The complete bag.
        unfinished: The bag until then.
    """

    def __init__(
        self, path: str, storage: str = "sqlite3", overwrite: bool = False, compress: bool = False
    ) -> None:
        """Check that the bag may be written; create nothing yet.

        `storage` is "sqlite3" or "mcap". `overwrite` replaces a bag of that name when the new one
        is complete. `compress` uses zstd, for chunks of an MCAP file or each message in SQLite.

        Raises:
            ConfigurationError: Another storage.
            BagReaderUnavailableError: `rosbags` is not installed.
            BagError: The name is taken, by a bag without `overwrite` or by anything else.
        """
        if storage not in STORAGES:
            raise ConfigurationError(
                f"expected a storage out of {', '.join(STORAGES)}, found {storage!r}"
            )
        self.path = os.path.normpath(os.fspath(path))
        self.messages = 0
        self._part = self.path + ".part"
        self.unfinished = os.path.join(self._part, os.path.basename(self.path))
        self._lock = contextlib.ExitStack()
        _check_free(self.path, overwrite)
        self._typesys = bag_library("rosbags.typesys")
        self._store = self._typesys.get_typestore(self._typesys.Stores.ROS2_HUMBLE)
        self._connections: dict[tuple[str, str], Connection] = {}
        self._storage, self._compress = storage, compress

    def __enter__(self) -> BagWriter:
        with self._errors_named():
            _remove_unfinished(self._part)
            os.makedirs(self._part)
            try:
                self._mark("It is being written, or the program was killed.")
                self._lock.enter_context(_locked(os.path.join(self._part, MARK)))
                self._writer = self._new_writer()
                self._writer.open()
            except BaseException:
                self._give_up()
                raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            return self._keep(error)
        try:
            with self._errors_named():
                self._writer.close()
                _replace(self.unfinished, self.path)
        except FusionError as unfinished:
            self._keep(unfinished)
            raise
        self._give_up()

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
            raw: bytes = self._store.serialize_cdr(message, kind)
        return raw

    def _new_writer(self) -> Writer:
        rosbag2 = bag_library("rosbags.rosbag2")
        plugin, mode = rosbag2.StoragePlugin[self._storage.upper()], rosbag2.CompressionMode
        writer: Writer = rosbag2.Writer(Path(self.unfinished), version=9, storage_plugin=plugin)
        if self._compress:
            what = mode.STORAGE if self._storage == "mcap" else mode.MESSAGE
            writer.set_compression(what, rosbag2.CompressionFormat.ZSTD)
        return writer

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
                store = self._typesys.get_typestore(self._typesys.Stores.ROS2_HUMBLE)
                store.register(self._typesys.get_types_from_msg(topic.definition, topic.type))
            return str(store.hash_rihs01(topic.type))
        except Exception:  # noqa: BLE001 - definitions may be of any kind; players need no hash
            return UNKNOWN_DIGEST

    def _keep(self, error: BaseException) -> None:
        """Close the unfinished bag, so that it can be read, and mark it as incomplete."""
        try:
            self._writer.close()
        except Exception:  # noqa: BLE001 - the disk is full; keep what was written
            for close in (self._commit, self._writer.abort):
                with contextlib.suppress(Exception):
                    close()
        if not self.messages:
            return self._give_up()
        with contextlib.suppress(OSError):  # the disk is full: the first mark stands there
            self._mark(f"It ended with {type(error).__name__}: {error}")
        self._lock.close()

    def _give_up(self) -> None:
        """Remove the folder of the unfinished bag."""
        self._lock.close()
        shutil.rmtree(self._part, ignore_errors=True)

    def _mark(self, why: str) -> None:
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        text = f"irvis_fusion began this bag and did not finish it ({when}).\n{why}\n"
        with open(os.path.join(self._part, MARK), "w", encoding="utf-8") as stream:
            stream.write(text + f"Messages written: {self.messages}\n")

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except FusionError:
            raise
        except Exception as error:  # of rosbags, SQLite, the file system
            advice = "is the place writable?"
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            if full or "full" in str(error):
                advice = "make room, or write to another disk, and start again"
            if self.messages:
                advice += f" ({self.messages} messages are kept in {self.unfinished})"
            raise BagError(
                f"expected to write a bag to {self.path}, found: {type(error).__name__}: {error}; "
                f"{advice}"
            ) from error


def is_bag(path: str) -> bool:
    """Return whether a folder holds a bag and no other files."""
    if not os.path.isdir(path):
        return False
    names = os.listdir(path)
    storage = [name for name in names if os.path.splitext(name)[1] in SUFFIXES]
    ours = ("metadata.yaml", ".db3-shm", ".db3-wal", ".db3-journal", ".zstd")
    rest = [name for name in names if name not in storage and not name.endswith(ours)]
    return bool(storage or "metadata.yaml" in names) and not rest


def _check_free(path: str, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise BagError(
            f"expected {path} to be free, found a file or folder; choose another name, or "
            "replace it with --overwrite"
        )
    if os.path.islink(path) or not is_bag(path):
        raise BagError(
            f"expected a bag at {path}, since --overwrite replaces nothing else, found something "
            "else (or a bag with other files in its folder); choose another name"
        )


def _remove_unfinished(part: str) -> None:
    """Remove an unfinished bag of this writer, and nothing else."""
    if not os.path.lexists(part):
        return
    if os.path.islink(part) or not os.path.isfile(os.path.join(part, MARK)):
        raise BagError(
            f"expected {part}, where the bag grows, to be free or an unfinished bag, found "
            "something else; move it away"
        )
    _locked(os.path.join(part, MARK)).close()
    shutil.rmtree(part)


def _locked(mark: str) -> IO[str]:
    """Lock the mark until the returned file is closed or this process ends."""
    stream = open(mark, "a", encoding="utf-8")  # noqa: SIM115 - it stays open
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # Windows, where a file in use cannot be removed anyway
        return stream
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise BagError(
            f"expected no writer of {os.path.dirname(mark)}, found another process writing it; "
            "wait for it to end, or choose another name"
        ) from error
    return stream


def _replace(new: str, path: str) -> None:
    """Rename `new` to `path`; remove the old bag only after that."""
    old = path + ".old"
    if not os.path.lexists(path):
        os.rename(new, path)
        return
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old)
