"""What goes wrong with bags."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from irvis_fusion_core.errors import FusionError
from irvis_fusion_core.optional_packages import pip_advice


class BagError(FusionError):
    """A bag cannot be read or written, or lacks an expected topic."""


class BagReaderUnavailableError(BagError):
    """A library that reads and writes bags is not installed."""


def bag_library(name: str) -> ModuleType:
    """Import a module of `rosbags` or `mcap`; raise BagReaderUnavailableError without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        advice = pip_advice("rosbags mcap")
        if sys.version_info < (3, 10):
            advice += " needs Python 3.10 or newer: copy the bag to a machine that has one"
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
        files = [*map(str, sorted(Path(bag).glob("*.db3"))), bag]
        advice = "try `mcap recover` or `ros2 bag reindex` on a copy"
        if files[0].endswith(".db3"):
            command = f'sqlite3 {shlex.quote(files[0])} ".recover" | sqlite3 recovered.db3'
            advice = (
                f"copy it again, or recover what is left with `{command}` and use recovered.db3 "
                "(Debian's and Ubuntu's sqlite3 cannot recover; the one from sqlite.org can)"
            )
        raise BagError(
            f"expected {bag} to be a readable ROS 2 bag, found: {type(error).__name__}: {error}; "
            f"if its recording or copying was cut off, {advice}"
        ) from error
