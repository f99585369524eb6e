"""Files that appear whole or not at all, and files that one process has to itself."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; it replaces `path` when the block succeeds.

    The folder is made where it is missing. The file is flushed to disk before it is renamed, and
    keeps the mode of the file that it replaces. When the block raises, the temporary file is
    removed and `path` stays as it was.

    Args:
        mode: permissions of a new file; None follows the umask.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else mode
    # The suffix stays at the end: some writers choose their format by it.
    temporary = path.with_name(f".writing_{uuid.uuid4().hex}.part{path.suffix}")
    first_mode = 0o666 if mode is None else mode
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, first_mode))
    try:
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def write_file(path: str | os.PathLike, content: bytes | str, mode: int | None = None) -> None:
    """Write bytes, or text in UTF-8, whole or not at all; raises as `replacing`."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def lock(path: str | os.PathLike) -> IO[str]:
    """Lock a file until the returned stream is closed or this process ends.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: It cannot be opened, or the file system has no locks.
    """
    stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 - it stays open
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # Windows, where a file in use cannot be removed anyway
        return stream
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(error.errno, "locked by another process") from error
        raise
    return stream
