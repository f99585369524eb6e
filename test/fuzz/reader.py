"""What is fuzzed: a reader of bytes that somebody else wrote."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from irvis_fusion_core.errors import FusionError

Read = Callable[[bytes], object]


class Reader(NamedTuple):
    """A row of the table.

    Attributes:
        name: Of the row.
        read: Gives the bytes to the public reader, or to one of several by the first byte.
        seeds: Returns valid inputs, made by the writers of the project.
        errors: The errors that bad bytes may raise; each has a message.
        libraries: Modules in Python whose branches guide the fuzzer besides those of the project.
        seconds: The most that one input may take, on a machine that runs other work.
        megabytes: The most memory of the process.
        longest: Bytes of the longest input.
    """

    name: str
    read: Read
    seeds: Callable[[], list[bytes]]
    errors: tuple[type[Exception], ...] = (FusionError,)
    libraries: tuple[str, ...] = ()
    seconds: int = 30
    megabytes: int = 1024
    longest: int = 4096

    @property
    def folder(self) -> str:
        """Return the name of its folder in `found/` and in the output."""
        return re.sub(r"\W+", "_", self.name).strip("_")

    def attempt(self, data: bytes) -> Exception | None:
        """Read `data`; return the allowed error that it raised.

        Raises:
            Exception: Of another kind, or without a message: a finding.
        """
        try:
            self.read(data)
        except self.errors as error:
            if not str(error).strip():
                raise AssertionError(f"{type(error).__name__} without a message") from error
            return error
        return None


def by_first_byte(*reads: Read) -> Read:
    """Return a reader that gives what follows the first byte to one of these."""

    def read(data: bytes) -> object:
        return reads[data[0] % len(reads)](data[1:]) if data else None

    return read


def numbered(*groups: list[bytes]) -> list[bytes]:
    """Return seeds of `by_first_byte`, a group for each of its readers."""
    return [bytes([number]) + seed for number, group in enumerate(groups) for seed in group]


_folders: dict[str, tempfile.TemporaryDirectory] = {}  # each removes itself at the end


def folder(name: str) -> Path:
    """Return a temporary folder of this process; the same for the same name."""
    if name not in _folders:
        _folders[name] = tempfile.TemporaryDirectory(prefix=f"fuzz_{name}_")
    return Path(_folders[name].name)


def new_folder(name: str) -> Path:
    """Return `folder`, emptied."""
    found = folder(name)
    for path in found.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def file_of(data: bytes, name: str) -> str:
    """Return the path of a file with these bytes; the next call with the name replaces it."""
    path = folder("files") / name
    path.write_bytes(data)
    return str(path)
