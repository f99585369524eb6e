"""The CSV files of a report: written line by line, read back one column at a time.

They are the only store of what was measured, so that memory does not grow with the bag, and a
report can be made of whatever had been written when a run ended early.
"""

from __future__ import annotations

import array
import csv
import os
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, TextIO

import numpy as np

from irvis_fusion_core.errors import FusionError


class ReportError(FusionError):
    """The report's folder or files cannot be written or read."""


class Table:
    """A CSV file that is being written; columns that a row lacks stay empty."""

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        """Begin the file anew.

        Raises:
            ReportError: it cannot be written.
        """
        self.path = path
        self.columns = list(columns)
        self.rows = 0
        try:
            self._stream: TextIO = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise unwritable(path, error) from error
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(self.columns)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row; numbers with six digits, None as nothing.

        Raises:
            ReportError: the disk is full.
        """
        unknown = set(row) - set(self.columns)
        if unknown:
            raise KeyError(f"{os.path.basename(self.path)} has no columns {sorted(unknown)}")
        self.rows += 1
        try:
            self._writer.writerow([_text(row.get(column)) for column in self.columns])
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Finish the file."""
        try:
            self._stream.close()
        except OSError as error:
            raise unwritable(self.path, error) from error


def unwritable(path: str, error: OSError) -> ReportError:
    """What to say of a place that cannot be written to."""
    return ReportError(
        f"expected to write {path}, found: {error.strerror or error}; choose another --output, or "
        "make room"
    )


def read_rows(path: str) -> Iterator[Dict[str, str]]:
    """The rows of a file, one at a time."""
    with open(path, newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def read_columns(
    path: str, names: Sequence[str], where: Optional[Mapping[str, str]] = None
) -> Dict[str, np.ndarray]:
    """Columns as float64 [rows], NaN where a cell is empty or no number.

    Args:
        where: column -> text that a row must have to be taken.
    """
    found = {name: array.array("d") for name in names}  # eight bytes a value
    for row in read_rows(path):
        if where and any(row[column] != text for column, text in where.items()):
            continue
        for name in names:
            found[name].append(_number(row[name]))
    return {name: np.array(values) for name, values in found.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else "%.6g" % value
    return str(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
