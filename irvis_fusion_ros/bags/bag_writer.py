"""A bag being written: under a temporary name until it is whole.

    with BagWriter("fused", storage="mcap") as writer:
        writer.write_message("/fused/image_raw", IMAGE, recorded_ns, message)

The bag grows in `fused.part/fused` and gets its name when the block ends well. When it ends with
an error, the messages written so far stay there, closed and readable where the disk allows, and
`fused.part/UNFINISHED.txt` says why. The next run starts clean.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import shutil
import time
from typing import IO, Any, Iterator, Optional, Set, Tuple

from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_ros.bags.bag_sink import open_sink
from irvis_fusion_ros.bags.bag_storage import SUFFIXES, BagError, StoredTopic

STORAGES = ("sqlite3", "mcap")
PART = ".part"
OLD = ".old"
MARK = "UNFINISHED.txt"


class BagWriter:
    """Writes one bag; see above.

    Attributes:
        messages: how many were written.
        path: the bag's name when it is whole.
        unfinished: where it is until then.
    """

    def __init__(
        self, path: str, storage: str = "sqlite3", overwrite: bool = False, compress: bool = False
    ) -> None:
        """Check that the bag may be written; nothing is created yet.

        Args:
            storage: "sqlite3" or "mcap".
            overwrite: replace a bag of that name, once the new one is whole.
            compress: with zstd (chunks of an MCAP, else each message).

        Raises:
            ConfigurationError: another storage.
            BagError: the name is taken, by a bag without `overwrite` or by anything else.
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
        self._topics: Set[Tuple[str, str]] = set()
        self._sink: Any = None
        self._lock: Optional[IO[str]] = None
        _check_free(self.path, overwrite)

    def __enter__(self) -> BagWriter:
        with self._errors_named():
            _remove_unfinished(self._part)
            os.makedirs(self._part)
            try:
                self._mark("It is being written, or the program was killed.")
                self._lock = _locked(os.path.join(self._part, MARK))
                self._sink = open_sink(self.unfinished, self._storage, self._compress)
            except BaseException:
                self._give_up()
                raise
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is None:
            self._finish()
        else:
            self._keep(error)

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic: also one without messages is then in the bag. Twice does nothing.

        Raises:
            BagError: the bag cannot be written.
        """
        if topic[:2] not in self._topics:
            with self._errors_named():
                self._sink.add_topic(topic)
            self._topics.add(topic[:2])

    def write_raw(self, topic: str, kind: str, recorded_ns: int, raw: bytes) -> None:
        """Write a message's bytes as another bag had them; errors as `add_topic`."""
        self.add_topic(StoredTopic(topic, kind, 0))
        with self._errors_named():
            self._sink.write(topic, kind, recorded_ns, raw)
        self.messages += 1

    def write_message(self, topic: str, kind: str, recorded_ns: int, message: Any) -> None:
        """Write a message, whatever has the fields of its type; errors as `add_topic`."""
        self.write_raw(topic, kind, recorded_ns, self.serialize(message, kind))

    def serialize(self, message: Any, kind: str) -> bytes:
        """The bytes of a message, for whoever writes it later; errors as `add_topic`."""
        with self._errors_named():
            raw: bytes = self._sink.serialize(message, kind)
        return raw

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
        """Close what there is, so that it can be read, and say that it is not all."""
        if self._sink is not None:
            try:
                self._sink.close()
            except Exception:  # noqa: BLE001 - the disk is full; what is there stays
                self._sink.abort()
        if not self.messages:
            self._give_up()
            return
        with contextlib.suppress(OSError):  # the disk is full: the first mark stands there
            self._mark(f"It ended with {type(error).__name__}: {error}")
        self._release()

    def _give_up(self) -> None:
        """Remove the place where the bag grew."""
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
        except Exception as error:  # OSError, SQLite's, rosbags', rosbag2's own
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
    """Whether a folder holds a bag, and nothing that is not part of one."""
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
            f"expected a bag at {path}, which alone --overwrite replaces, found something else "
            "(or a bag with other files in its folder); choose another name"
        )


def _remove_unfinished(part: str) -> None:
    """Start clean after a run that did not finish; never remove what is not ours."""
    if not os.path.lexists(part):
        return
    if os.path.islink(part) or not os.path.isfile(os.path.join(part, MARK)):
        raise BagError(
            f"expected {part} to be free, the name under which the bag grows, found something "
            "that is no unfinished bag; move it away"
        )
    _locked(os.path.join(part, MARK)).close()
    shutil.rmtree(part)


def _locked(mark: str) -> IO[str]:
    """Hold the mark for as long as this process, or the file that is returned, lives."""
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
            f"expected nobody to write {os.path.dirname(mark)}, found another process at it; wait "
            "for it to end, or choose another name"
        ) from error
    return stream


def _replace(new: str, path: str) -> None:
    """Give `new` its name; the bag that has it now goes only after that."""
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
