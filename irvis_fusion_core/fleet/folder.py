"""The folder of a combined report, which gives every source a place of its own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from irvis_fusion_core.atomic_file import lock, write_file
from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import ConfigurationError

PAGE, SUMMARY, TABLE = "index.html", "summary.json", "runs.csv"
_NAMES, _RECORDS, _LOCK = ".names.json", ".finished", ".lock"
_SUFFIXES = re.compile(r"(\.(db3|mcap|zstd|zst))+$")
_RESERVED = re.compile(
    rf"\.|.*\.(log|part)$|({re.escape(PAGE)}|{SUMMARY}|{TABLE})$", re.IGNORECASE
)


class FleetFolder:
    """The folder below which every source (a bag, a folder) has its own name.

    A source keeps its name in later runs, so its finished work is found again, and another source
    of the same name never takes its place. The folder is locked while this object exists.
    """

    def __init__(self, path: str) -> None:
        """Make the folder.

        Raises:
            ConfigurationError: It contains something else, cannot be written, or another process
                works in it.
        """
        self.path = Path(path)
        self._file = self.path / _NAMES
        try:
            if not self._file.is_file():
                self._refuse_other_files()
                write_file(self._file, "{}")
            self._lock = self._locked()
            # name -> real path of the source
            self._names: dict[str, str] = parse_json_object(self._file.read_bytes())
            if not all(isinstance(source, str) for source in self._names.values()):
                raise ValueError(f"{_NAMES} with other values than the paths of sources")
        except ConfigurationError:
            raise
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"expected a folder that can be written at {path}, found: {error}; choose another "
                "--output"
            ) from error

    def _refuse_other_files(self) -> None:
        if self.path.exists() and any(self.path.iterdir()):
            raise ConfigurationError(
                "expected a new or empty folder, or one of an earlier run with several sources, "
                f"at {self.path}, found other files; choose another --output"
            )

    def _locked(self) -> IO[str] | None:
        try:
            return lock(self.path / _LOCK)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"expected no other run in {self.path}, found one; wait for it to end, or choose "
                "another --output"
            ) from error
        except OSError:  # file systems of clusters may have no locks
            return None

    def name(self, sources: Sequence[str]) -> dict[str, str]:
        """Return name -> source, in order; a source that is given twice has one name.

        Raises:
            ConfigurationError: A source lies in this folder.
        """
        known = {real: name for name, real in self._names.items()}
        found: dict[str, str] = {}
        for source in sources:
            real = os.path.realpath(source)
            if os.path.realpath(self.path) in (real, *map(str, Path(real).parents)):
                raise ConfigurationError(
                    f"expected --output outside of what is read, found {source} in {self.path}"
                )
            name = known.setdefault(real, self._free_name(real))
            self._names[name] = real
            found.setdefault(name, source)
        write_file(self._file, json.dumps(self._names, indent=1))
        return found

    def record(self, name: str) -> str:
        """Return the path of the record of a finished run."""
        return str(self.path / _RECORDS / f"{name}.json")

    def _free_name(self, source: str) -> str:
        base = _SUFFIXES.sub("", os.path.basename(source)) or "root"
        if _RESERVED.match(base):
            base = f"source_{base}_"
        taken = {name.casefold() for name in self._names}  # some file systems ignore case
        numbered = (f"{base}_{number}" for number in range(2, len(taken) + 3))
        return next(name for name in (base, *numbered) if name.casefold() not in taken)
