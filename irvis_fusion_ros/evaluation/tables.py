"""The CSV files of a report: written row by row, read back column by column.

They are the only store of the measurements. So memory does not grow with the bag, and a run that
ends early can still be reported.
"""

from __future__ import annotations

import array
import contextlib
import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO, Union

import numpy as np

from irvis_fusion_core.errors import FusionError

CellValue = Union[str, int, float, np.floating, None]


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an OSError of the block into a FusionError that names `path`."""
    try:
        yield
    except OSError as error:
        raise FusionError(
            f"expected to write {path}, found: {error.strerror or error}; choose another --output "
            "or free disk space"
        ) from error


class Table:
    """A CSV file that is being written; columns that a row lacks stay empty.

    Every method raises FusionError if the file cannot be written.
    """

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        """Create the file, or empty it."""
        self.path = path
        with writing(path):
            self._stream: TextIO = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = csv.DictWriter(self._stream, columns, lineterminator="\n")
        self._writer.writeheader()

    def add(self, row: Mapping[str, CellValue]) -> None:
        """Write a row; numbers with six digits, None as an empty cell.

        Raises:
            ValueError: The table has no such column.
        """
        with writing(self.path):
            self._writer.writerow({column: _text(value) for column, value in row.items()})

    def close(self) -> None:
        """Finish the file."""
        with writing(self.path):
            self._stream.close()


def read_rows(path: str, where: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of a file; `where` is column -> text that a row must have to be taken."""
    with open(path, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if all(row[column] == text for column, text in (where or {}).items()):
                yield row


def read_columns(
    path: str, names: Sequence[str], where: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Return columns as float64 [rows], NaN for an empty cell; `where` as of `read_rows`."""
    found = {name: array.array("d") for name in names}  # eight bytes per value
    for row in read_rows(path, where):
        for name in names:
            found[name].append(_number(row[name]))
    return {name: np.array(values) for name, values in found.items()}


def _text(value: CellValue) -> str:
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
