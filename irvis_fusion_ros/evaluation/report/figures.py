"""The plots of the page, drawn from the tables in the report's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.report.plots import Series, histogram, line_chart, strip
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

OUTCOME_COLOURS = {"fused": "s2", "passed": "s4", "dropped": "bad"}
_FILES = {"engine_ms": TIMING, "frame_ms": TIMING, "latency_ms": LIVE}
"""The tables of columns that are not in frames.csv."""


class Figures:
    """Draws columns of all configurations; the template calls it."""

    def __init__(self, folder: str, names: Sequence[str], colour_of: Callable[[str], str]) -> None:
        """Take the report's folder, the configurations, and the colour of each row."""
        self._folder = folder
        self._names = names
        self._colour_of = colour_of

    def line(
        self,
        column: str,
        title: str,
        with_maximum: bool = False,
        from_zero: bool = False,
        x: str = "time_s",
        x_label: str = "time, s",
    ) -> str:
        """Return a column over time, or over column `x`, as SVG.

        `with_maximum` adds the trivial fusion "maximum".
        """
        return line_chart(self._series(column, with_maximum, x), title, x_label, from_zero)

    def histogram(self, column: str, title: str, x_label: str, with_maximum: bool = False) -> str:
        """Return the distribution of a column as SVG; arguments as of `line`."""
        return histogram(self._series(column, with_maximum), title, x_label)

    def outcomes(self, name: str) -> str:
        """Return the outcome of each frame of a configuration as SVG."""
        kinds = [
            list(OUTCOME_COLOURS).index(row["outcome"])
            for row in read_rows(os.path.join(self._folder, FRAMES))
            if row["configuration"] == name
        ]
        return strip(kinds, list(OUTCOME_COLOURS.values()), f"outcomes of {name}")

    def _series(self, column: str, with_maximum: bool, x: str = "frame") -> list[Series]:
        sources = [(_FILES.get(column, FRAMES), "configuration", name) for name in self._names]
        if with_maximum:
            sources.insert(0, (REFERENCE_ROWS, "reference", "maximum"))
        series = []
        for file, key, name in sources:
            found = read_columns(os.path.join(self._folder, file), (x, column), {key: name})
            series.append(Series(name, self._colour_of(name), found[x], found[column]))
        return series
