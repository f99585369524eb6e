"""The plots of the page, drawn from the tables in the report's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.report.plots import Series, histogram, line_chart, strip
from irvis_fusion_ros.evaluation.summary import DECIDING, LOWER_IS_BETTER
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

OVER_TIME = ("VIF", "Qabf", "SSIM", "SCD", "EN", "ghost")
OUTCOME_COLOURS = {"fused": "s2", "passed": "s4", "dropped": "bad"}


class Figure(NamedTuple):
    """A plot as SVG, its title, and a remark."""

    svg: str
    caption: str
    note: str = ""


class Figures:
    """Draws what the tables of one report hold; names are those of the configurations."""

    def __init__(self, folder: str, names: Sequence[str], colour_of: Callable[[str], str]) -> None:
        """Take the report's folder, the configurations, and the colour of each row."""
        self._folder = folder
        self._names = names
        self._colour_of = colour_of

    def metrics(self, measured: Sequence[str]) -> list[Figure]:
        """Return the metrics over time, and the distributions of the first two."""
        shown = [metric for metric in OVER_TIME if metric in measured]
        series = {metric: self._with_maximum(metric) for metric in shown}
        lines = [Figure(line_chart(series[m], m), m, _better(m)) for m in shown]
        return lines + [
            Figure(histogram(series[m], m, m), m + ", distribution") for m in shown[:2]
        ]

    def streams(self) -> list[Figure]:
        """Return flicker, times and skew over time, each with its distribution."""
        flicker = "grey levels per frame beyond both sources, lower is better"
        skew = self._series(FRAMES, "skew_ms")
        return [
            Figure(
                line_chart(self._with_maximum("flicker"), "flicker", from_zero=True),
                "flicker",
                flicker,
            ),
            Figure(
                histogram(self._series(FRAMES, "flicker"), "flicker", "grey levels per frame"),
                "flicker, distribution",
            ),
            *self._pair(TIMING, "engine_ms", "engine", "ms, on this machine"),
            *self._pair(TIMING, "frame_ms", "whole frame", "ms, with reading and decoding"),
            Figure(line_chart(skew, "skew"), "skew", "ms, IR stamp minus visible stamp"),
            Figure(histogram(skew, "skew", "ms"), "skew, distribution"),
        ]

    def outcomes(self, name: str) -> Figure:
        """Return what became of each frame of a configuration."""
        kinds = [
            list(OUTCOME_COLOURS).index(row["outcome"])
            for row in read_rows(os.path.join(self._folder, FRAMES))
            if row["configuration"] == name
        ]
        colours = list(OUTCOME_COLOURS.values())
        return Figure(strip(kinds, colours, f"outcomes of {name}"), name, "along the bag")

    def latency(self) -> list[Figure]:
        """Return the latency of the live run."""
        note = "ms from publishing the visible image to the fused one in another process"
        return self._pair(LIVE, "latency_ms", "latency", note, "frame")

    def _pair(
        self, file: str, column: str, title: str, note: str, x: str = "time_s"
    ) -> list[Figure]:
        series = self._series(file, column, x)
        label = "time, s" if x == "time_s" else x
        return [
            Figure(line_chart(series, title, label, from_zero=True), title, note),
            Figure(histogram(series, title, "ms"), title + ", distribution"),
        ]

    def _with_maximum(self, column: str) -> list[Series]:
        maximum = self._one(REFERENCE_ROWS, "reference", "maximum", column)
        return [maximum, *self._series(FRAMES, column)]

    def _series(self, file: str, column: str, x: str = "time_s") -> list[Series]:
        return [self._one(file, "configuration", name, column, x) for name in self._names]

    def _one(self, file: str, key: str, name: str, column: str, x: str = "time_s") -> Series:
        found = read_columns(os.path.join(self._folder, file), (x, column), {key: name})
        return Series(name, self._colour_of(name), found[x], found[column])


def _better(metric: str) -> str:
    if metric in LOWER_IS_BETTER:
        return "lower is better"
    return "higher is better" if metric in DECIDING else ""
