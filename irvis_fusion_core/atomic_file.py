"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


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
