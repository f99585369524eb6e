"""Files that training and evaluation write: whole or not at all, and one error for a full disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from irvis_fusion_core.atomic_file import replacing
from training.errors import StorageError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds; else StorageError."""
    try:
        with replacing(path) as temporary:
            yield temporary
    # torch and safetensors report a failed write by errors of their own.
    except Exception as error:
        raise storage_error(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all and make its folder; errors as `writing`."""
    with writing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys; errors as `writing`."""
    text = json.dumps(value, indent=2, sort_keys=True, default=str)
    write_bytes(path, (text + "\n").encode())


def append_json(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line to a .jsonl file; errors as `writing`."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise storage_error(path, error) from error


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an HxWx3 RGB or HxW grey image of 8 or 16 bits; errors as `writing`."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    done, data = cv2.imencode(".png", np.ascontiguousarray(bgr))
    if not done:
        raise StorageError(f"expected OpenCV to encode {path.name}, found that it cannot")
    write_bytes(path, data.tobytes())


def make_folder(path: Path) -> Path:
    """Make a folder, before hours of work; StorageError where it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    if not os.access(path, os.W_OK):
        raise StorageError(f"expected to write into {path}, found that it is read-only")
    return path


def storage_error(path: Path, error: Exception) -> StorageError:
    """Return the error of a failed write, which says whether the disk is full."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error)
    # torch does not pass the reason on: ask the disk.
    if not full and path.parent.is_dir():
        full = shutil.disk_usage(path.parent).free < 1 << 20
    why = "no space is left on the device" if full else str(error)
    return StorageError(
        f"expected to write {path}, found: {why}; make room or name another folder"
    )
