"""The plots of the page, drawn from the tables in the report's folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.report.plots import Series, histogram, line_chart, strip
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

OUTCOME_COLOURS = {"fused": "s2", "passed": "s4", "dropped": "bad"}
_FILES = {"engine_ms": TIMING, "frame_ms": TIMING, "latency_ms": LIVE}
"""The tables of columns that are not in frames.csv."""
_FROM_ZERO = ("flicker", *_FILES)


@dataclasses.dataclass(frozen=True)
class Figures:
    """Draws columns of all configurations as SVG; the template calls it."""

    folder: str
    names: Sequence[str]
    colour_of: Callable[[str], str]

    def line(self, column: str, title: str, with_maximum: bool = False) -> str:
        """Return a column over time; `with_maximum` adds the trivial fusion "maximum"."""
        x, x_label = ("frame", "frame") if column == "latency_ms" else ("time_s", "time, s")
        series = self._series(column, with_maximum, x)
        return line_chart(series, title, x_label, column in _FROM_ZERO)

    def histogram(self, column: str, title: str, x_label: str, with_maximum: bool = False) -> str:
        """Return the distribution of a column; arguments as of `line`."""
        return histogram(self._series(column, with_maximum, "frame"), title, x_label)

    def outcomes(self, name: str) -> str:
        """Return the outcome of each frame of a configuration."""
        rows = read_rows(os.path.join(self.folder, FRAMES), {"configuration": name})
        kinds = [list(OUTCOME_COLOURS).index(row["outcome"]) for row in rows]
        return strip(kinds, list(OUTCOME_COLOURS.values()), f"outcomes of {name}")

    def _series(self, column: str, with_maximum: bool, x: str) -> list[Series]:
        sources = [(REFERENCE_ROWS, "reference", "maximum")] if with_maximum else []
        sources += [(_FILES.get(column, FRAMES), "configuration", name) for name in self.names]
        series = []
        for file, key, name in sources:
            found = read_columns(os.path.join(self.folder, file), (x, column), {key: name})
            series.append(Series(name, self.colour_of(name), found[x], found[column]))
        return series
