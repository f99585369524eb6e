"""What goes wrong with bags."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from irvis_fusion_core.errors import FusionError


class BagError(FusionError):
    """A bag cannot be read or written, or lacks an expected topic."""


class BagReaderUnavailableError(BagError):
    """A library that reads and writes bags is not installed."""


def bag_library(name: str) -> ModuleType:
    """Import a module of `rosbags` or `mcap`.

    Raises:
        BagReaderUnavailableError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        advice = "`pip install 'irvis_fusion[bag]'`"
        if sys.version_info < (3, 10):
            advice = (
                f"it needs Python 3.10 or newer, and this is {sys.version.split()[0]}: copy the "
                f"bag to a machine or container with a newer Python, and run {advice} there"
            )
        raise BagReaderUnavailableError(
            f"expected the Python package {name.partition('.')[0]}, which reads and writes bags, "
            f"found {error}; {advice}"
        ) from error


@contextlib.contextmanager
def reading_errors(bag: str) -> Iterator[None]:
    """Turn what the storage libraries raise into BagError, with advice on repair."""
    try:
        yield
    except FusionError:
        raise
    except Exception as error:  # of rosbags, SQLite, zstd, struct, the file system ...
        raise BagError(
            f"expected {bag} to be a readable ROS 2 bag, found: {type(error).__name__}: {error}; "
            f"{_repair(Path(bag))}"
        ) from error


def _repair(bag: Path) -> str:
    files = sorted(bag.glob("*.db3")) if bag.is_dir() else [bag]
    if files and files[0].suffix == ".db3":
        return (
            "if its recording or copying was cut off, copy it again, or recover what is left with "
            f'`sqlite3 {files[0]} ".recover" | sqlite3 recovered.db3` and use recovered.db3 '
            "(Debian's and Ubuntu's sqlite3 cannot recover; the one from sqlite.org can)"
        )
    return "if its recording was cut off, try `mcap recover` or `ros2 bag reindex` on a copy"
