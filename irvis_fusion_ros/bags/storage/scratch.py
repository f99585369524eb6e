"""Copies of storage files in a temporary folder, made once and removed when the process ends."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from irvis_fusion_ros.bags.storage.decompression import unpack_file


def copied(files: Sequence[Path]) -> Path:
    """Copy files into one folder; return the copy of the first.

    Raises:
        OSError: There is no room, or a file cannot be read.
    """
    return _copied(tuple(map(_state, files)))


def unpacked(file: Path) -> tuple[Path, str]:
    """Decompress a .zstd file; return the result, and why its end is missing, or "".

    Raises:
        BagError: It exceeds the limits of `decompression`.
        OSError: There is no room, or the file cannot be read.
    """
    return _unpacked(_state(file))


def _state(file: Path) -> tuple[Path, int, int]:
    """Return what changes when a file does."""
    found = file.stat()
    return file.absolute(), found.st_mtime_ns, found.st_size


@functools.lru_cache(None)
def _copied(states: tuple[tuple[Path, int, int], ...]) -> Path:
    folder = _folder()
    for path, *_ in states:
        shutil.copyfile(path, folder / path.name)
    return folder / states[0][0].name


@functools.lru_cache(None)
def _unpacked(state: tuple[Path, int, int]) -> tuple[Path, str]:
    target = _folder() / state[0].stem
    return target, unpack_file(state[0], target)


_folders: list[tempfile.TemporaryDirectory] = []  # each removes itself at the end


def _folder() -> Path:
    _folders.append(tempfile.TemporaryDirectory(prefix="irvis_fusion_"))
    return Path(_folders[-1].name)
