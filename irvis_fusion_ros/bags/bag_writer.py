"""Write a bag, under a temporary name until it is complete.

    with BagWriter("fused", storage="mcap") as writer:
        writer.write_message("/fused/image_raw", IMAGE, recorded_ns, message)

The bag grows in `fused.part/fused` and gets its name when the block ends without an error. After
an error the messages written so far stay there, readable where the disk allows, and
`fused.part/UNFINISHED.txt` says why. The next run removes them.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import shutil
import time
from collections.abc import Iterator
from types import TracebackType
from typing import IO

from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_ros.bags.bag_error import BagError
from irvis_fusion_ros.bags.bag_sink import BagSink
from irvis_fusion_ros.bags.bag_storage import SUFFIXES, StoredTopic

STORAGES = ("sqlite3", "mcap")
PART = ".part"
OLD = ".old"
MARK = "UNFINISHED.txt"


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

        Args:
            storage: "sqlite3" or "mcap".
            overwrite: Replace a bag of that name when the new one is complete.
            compress: Use zstd, for chunks of an MCAP file or each message in SQLite.

        Raises:
            ConfigurationError: Another storage.
            BagError: The name is taken, by a bag without `overwrite` or by anything else.
        """
        if storage not in STORAGES:
            raise ConfigurationError(
                f"expected a storage out of {', '.join(STORAGES)}, found {storage!r}"
            )
        self.path = os.path.normpath(os.fspath(path))
        self.messages = 0
        self._storage, self._compress = storage, compress
        self._part = self.path + PART
        self.unfinished = os.path.join(self._part, os.path.basename(self.path))
        self._topics: set[tuple[str, str]] = set()
        self._open_sink: BagSink | None = None
        self._lock: IO[str] | None = None
        _check_free(self.path, overwrite)

    def __enter__(self) -> BagWriter:
        with self._errors_named():
            _remove_unfinished(self._part)
            os.makedirs(self._part)
            try:
                self._mark("It is being written, or the program was killed.")
                self._lock = _locked(os.path.join(self._part, MARK))
                self._open_sink = BagSink(self.unfinished, self._storage, self._compress)
            except BaseException:
                self._give_up()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._finish()
        else:
            self._keep(error)

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic, which is then in the bag even without messages; once is enough.

        Raises:
            BagError: The bag cannot be written.
        """
        if topic[:2] not in self._topics:
            with self._errors_named():
                self._sink.add_topic(topic)
            self._topics.add(topic[:2])

    def write_raw(self, topic: str, kind: str, recorded_ns: int, raw: bytes) -> None:
        """Write a serialized message; raise as `add_topic`."""
        self.add_topic(StoredTopic(topic, kind, 0))
        with self._errors_named():
            self._sink.write(topic, kind, recorded_ns, raw)
        self.messages += 1

    def write_message(self, topic: str, kind: str, recorded_ns: int, message: object) -> None:
        """Write any object that has the fields of `kind`; raise as `add_topic`."""
        self.write_raw(topic, kind, recorded_ns, self.serialize(message, kind))

    def serialize(self, message: object, kind: str) -> bytes:
        """Return the CDR bytes of a message, to be written later; raise as `add_topic`."""
        with self._errors_named():
            return self._sink.serialize(message, kind)

    @property
    def _sink(self) -> BagSink:
        if self._open_sink is None:
            raise RuntimeError("expected BagWriter in a with block, found one that is not open")
        return self._open_sink

    def _finish(self) -> None:
        try:
            with self._errors_named():
                self._sink.close()
                _replace(self.unfinished, self.path)
        except FusionError as error:
            self._keep(error)
            raise
        self._give_up()

    def _keep(self, error: BaseException) -> None:
        """Close the unfinished bag, so that it can be read, and mark it as incomplete."""
        if self._open_sink is not None:
            try:
                self._sink.close()
            except Exception:  # noqa: BLE001 - the disk is full; keep what was written
                self._sink.abort()
        if not self.messages:
            self._give_up()
            return
        with contextlib.suppress(OSError):  # the disk is full: the first mark stands there
            self._mark(f"It ended with {type(error).__name__}: {error}")
        self._release()

    def _give_up(self) -> None:
        """Remove the folder of the unfinished bag."""
        self._release()
        shutil.rmtree(self._part, ignore_errors=True)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

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
            kept = f" ({self.messages} messages are kept in {self.unfinished})"
            raise BagError(
                f"expected to write a bag to {self.path}, found: {type(error).__name__}: {error}; "
                f"{advice}{kept if self.messages else ''}"
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
            f"expected no file or folder called {path} yet, found one; choose another name, or "
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
    old = path + OLD
    had_one = os.path.lexists(path)
    if had_one:
        os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        if had_one:
            os.rename(old, path)
        raise
    if had_one:
        shutil.rmtree(old)
