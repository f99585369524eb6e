"""What goes wrong with bags."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType

from irvis_fusion_core.errors import FusionError
from irvis_fusion_core.optional_packages import pip_advice

COPY_AGAIN = "; copy it again from where it was recorded"


class BagError(FusionError):
    """A bag cannot be read or written, or lacks an expected topic."""


class IncompleteBagError(BagError):
    """A bag was read to its end, and not every message that it states was there.

    Attributes:
        differences: Messages read and messages stated, by topic; none where only damage is known.
    """

    exit_status = 2

    def __init__(
        self, text: str, differences: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        super().__init__(text)
        self.differences = dict(differences or {})


def ignore_incomplete(error: IncompleteBagError) -> None:
    """Go on, as `on_incomplete` of a reader whose caller counts by itself."""


def bag_library(name: str) -> ModuleType:
    """Import a module that reads and writes bags; raise BagError without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        advice = pip_advice("rosbags mcap")
        if sys.version_info < (3, 10):
            advice += " needs Python 3.10 or newer: copy the bag to a machine that has one"
        raise BagError(
            f"expected the Python package {name.partition('.')[0]}, which reads and writes bags, "
            f"found {error}; {advice}"
        ) from error


@contextlib.contextmanager
def reading_errors(bag: str) -> Iterator[None]:
    """Turn what the storage libraries raise into BagError."""
    try:
        yield
    except FusionError:
        raise
    except Exception as error:  # of rosbags, SQLite, mcap, struct, the file system ...
        raise unreadable(bag, f"{type(error).__name__}: {error}") from error


def unreadable(bag: object, found: str, advice: str = "") -> BagError:
    """Return the error about a bag, or a file of one, that cannot be read at all."""
    return BagError(f"expected {bag} to be a readable ROS 2 bag, found: {found}{advice}")


def recovery_advice(database: object) -> str:
    """Return what to do about a damaged SQLite file."""
    command = f'sqlite3 {shlex.quote(str(database))} ".recover" | sqlite3 recovered.db3'
    return (
        f"; copy it again, or recover what is left with `{command}` and use recovered.db3 "
        "(Debian's and Ubuntu's sqlite3 cannot recover; the one from sqlite.org can)"
    )
