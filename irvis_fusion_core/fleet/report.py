"""One report of many runs: a row for each source, whatever became of it.

The facts of a run are three mappings of columns: `counts` (in the last row their sums), `means`
(each `{"mean": value, "count": of how many}`; the last row has the mean of all), and `values`.
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union
from urllib.parse import quote

from irvis_fusion_core import __version__
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.fleet.folder import PAGE, SUMMARY, TABLE
from irvis_fusion_core.fleet.job import INTERRUPTED, Job, Result
from irvis_fusion_core.fleet.pool import run_jobs

ALL = "all"
WRITE_S = 5.0
"""Between two states of a report that grows."""
_STATUS = {0: "done", 2: "incomplete", INTERRUPTED: "interrupted"}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3em .8em; text-align: right; border-bottom: 1px solid #8886; }}
td {{ white-space: nowrap; }}
th:first-child, td:first-child, td.text {{ text-align: left; }}
td.text:last-child {{ white-space: normal; min-width: 30em; overflow-wrap: anywhere; }}
td.failed, td.incomplete, td.failed a, td.incomplete a {{ color: #d0453a; font-weight: 600; }}
tr:last-child td {{ font-weight: 600; }}
</style></head><body><h1>{title}</h1><p>{state}</p><p><code>{command}</code></p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></body></html>
"""

Cell = Union[str, int, float, None]


class FleetReport:
    """The rows, and the files of a folder that show them."""

    def __init__(
        self,
        command: str,
        sources: Mapping[str, str],
        folder: Path | None = None,
        link: str = "",
        quiet: bool = False,
    ) -> None:
        """Begin with every source waiting.

        Args:
            command: As it was typed.
            sources: Name of a row -> what is read.
            folder: Of index.html, summary.json and runs.csv; None for no files.
            link: What to open of a source, below `folder/NAME`.
            quiet: Print failures only.
        """
        self._command, self._sources, self._folder = command, dict(sources), folder
        self._link, self._quiet = link, quiet
        self._results: dict[str, Result] = {}
        self._written = float("-inf")

    @property
    def exit_status(self) -> int:
        """0 if all are done; 1 if one failed; 2 if none failed and one is incomplete."""
        found = {result.exit_status for result in self._results.values()} - {0}
        return min(found, default=0) if found <= {2} else 1

    def run(self, jobs: Sequence[Job], count: int, scheduler: str | None) -> int:
        """Run the jobs, write the report whatever happens, and return the exit status.

        Raises:
            OSError: The report cannot be written.
            FusionError, KeyboardInterrupt: As `run_jobs`.
        """
        self.write()
        try:
            run_jobs(jobs, count, scheduler, self.add)
        finally:
            self.write()
        if not self._quiet:
            counts = total_of(r.facts for r in self._results.values())["counts"]
            told = [self._state(), *(f"{value} {column}" for column, value in counts.items())]
            print(", ".join(told), file=sys.stderr)
            if self._folder is not None:
                print(self._folder / PAGE)
        return self.exit_status

    def add(self, job: Job, result: Result) -> None:
        """Add the result of a job, tell it, and keep what its process printed."""
        self._results[job.name] = result
        status = _status(result)
        if not self._quiet or result.exit_status not in (0, INTERRUPTED):
            text = f"[{len(self._results)}/{len(self._sources)}] {job.name}: {status}"
            text += f": {result.error}" if result.error else f", {result.seconds:.1f} s"
            print(_text(text), file=sys.stderr)
        if self._folder is not None and not result.kept:
            log = self._folder / f"{job.name}.log"
            if result.log.strip():
                write_file(log, result.log)
            elif log.exists():
                log.unlink()
        if time.monotonic() - self._written > WRITE_S:
            self.write()

    def write(self) -> None:
        """Write the files of the folder; raise OSError where that fails."""
        self._written = time.monotonic()
        if self._folder is None:
            return
        rows = [self._row(name) for name in self._sources]
        total = total_of(result.facts for result in self._results.values())
        summary = {
            "complete": all(row["status"].startswith("done") for row in rows),
            "command": _text(self._command),
            "version": __version__,
            "runs": rows,
            "total": total,
        }
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        write_file(self._folder / SUMMARY, text + "\n")
        table = _table(rows, total)
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(
            [[_shown(cell) for cell in line] for line in table[:-1]]
        )
        write_file(self._folder / TABLE, stream.getvalue())
        write_file(self._folder / PAGE, self._page(table, rows))

    def _state(self) -> str:
        states = [self._row(name)["status"] for name in self._sources]
        return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))

    def _row(self, name: str) -> dict[str, Any]:
        result = self._results.get(name, Result(0))
        return {
            "name": _text(name),
            "source": _text(self._sources[name]),
            "status": _status(result) if name in self._results else "waiting",
            "exit_status": result.exit_status if name in self._results else None,
            "error": _text(result.error) or None,
            "seconds": round(result.seconds, 3),
            "host": result.host,
            **{kind: result.facts.get(kind, {}) for kind in ("counts", "means", "values")},
        }

    def _page(self, table: Sequence[Sequence[Cell]], rows: Sequence[Mapping[str, Any]]) -> str:
        assert self._folder is not None
        body = []
        for number, line in enumerate(table[1:]):
            cells = [html.escape(_shown(cell)) for cell in line]
            kinds = ["text" if isinstance(cell, str) else "" for cell in line]
            kinds[1] = str(line[1])
            if number < len(rows):
                cells[0] = self._anchor(cells[0], f"{line[0]}/{self._link}")
                cells[1] = self._anchor(cells[1], f"{line[0]}.log")
            body.append("".join(f'<td class="{k}">{c}</td>' for k, c in zip(kinds, cells)))
        return _PAGE.format(
            title=f"{len(rows)} runs of irvis_fusion",
            state=html.escape(self._state()),
            command=html.escape(_text(self._command)),
            head="".join(f"<th>{html.escape(_shown(cell))}</th>" for cell in table[0]),
            body="\n".join(f"<tr>{line}</tr>" for line in body),
        )

    def _anchor(self, text: str, path: str) -> str:
        assert self._folder is not None
        if not (self._folder / path).exists():
            return text
        return f'<a href="{quote(path)}">{text}</a>'


def total_of(facts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of the counts and the means over everything that was counted."""
    counts: dict[str, int] = {}
    means: dict[str, dict[str, float]] = {}
    for each in facts:
        for column, value in each.get("counts", {}).items():
            counts[column] = counts.get(column, 0) + value
        for column, part in each.get("means", {}).items():
            there = means.setdefault(column, {"mean": 0.0, "count": 0})
            there["count"] += part["count"]
            there["mean"] += (part["mean"] - there["mean"]) * part["count"] / there["count"]
    return {"counts": counts, "means": means}


def _table(rows: Sequence[Mapping[str, Any]], total: Mapping[str, Any]) -> list[list[Cell]]:
    """Return the head, a line for each run, and the line of all."""
    columns = list(dict.fromkeys(column for row in rows for column in _cells(row)))
    first, last = ("name", "status", "seconds", "host"), ("source", "error")
    head = [*first, *columns, *last]
    lines: list[list[Cell]] = [[*head]]
    for row in rows:
        cells = {**_cells(row), **{name: row[name] for name in (*first, *last)}}
        lines.append([cells.get(name) for name in head])
    cells = {**_cells(total), "name": ALL, "status": ""}
    lines.append([cells.get(name) for name in head])
    return lines


def _cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    means = {column: part["mean"] for column, part in row["means"].items()}
    return {**row["counts"], **means, **row.get("values", {})}


def _status(result: Result) -> str:
    return "done before" if result.kept else _STATUS.get(result.exit_status, "failed")


def _shown(cell: Cell) -> str:
    return "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _text(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")  # names of files are bytes
