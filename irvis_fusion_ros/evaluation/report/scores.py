"""The tables of means: configurations first, the trivial fusions below; and how numbers read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from irvis_fusion_ros.evaluation.summary import DECIDING, LEVEL, LOWER_IS_BETTER

MAIN_METRICS: Final = {
    "information of both sources: decide by these": DECIDING,
    "edge alignment, steadiness": ("edges_vis", "edges_ir", "ghost", "flicker"),
}
FURTHER_METRICS: Final = {
    "clean forms": ("SSIM255", "MS_SSIM", "PSNR255"),
    "published forms": ("PSNR", "CC"),
    "fused image alone: noise and stretching raise these": ("EN", "SD", "SF", "AG"),
}
"""Heading -> columns."""


class Cell(NamedTuple):
    """A mean; `difference` is to the pixel-wise maximum, `trend` "up" (better), "down" or ""."""

    text: str
    is_best: bool = False
    difference: str = ""
    trend: str = ""


class ScoreTable:
    """The cells of one table, without what was not measured.

    Attributes:
        groups: Heading -> its metrics.
        columns: Each metric, and "sep" for the first of a group or "".
    """

    def __init__(self, rows: Mapping[str, Any], headings: Mapping[str, tuple[str, ...]]) -> None:
        """Take `rows`: name -> scores, as in summary.json."""
        self._means: dict[str, dict[str, float]] = {}
        for name, row in rows.items():
            spreads = {**row["metrics"], "flicker": row["flicker"]}
            self._means[name] = {m: each["mean"] for m, each in spreads.items() if "mean" in each}
        measured = {metric for means in self._means.values() for metric in means}
        groups = {h: [m for m in metrics if m in measured] for h, metrics in headings.items()}
        self.groups = {heading: metrics for heading, metrics in groups.items() if metrics}
        self.columns = [
            (m, "" if i else "sep") for g in self.groups.values() for i, m in enumerate(g)
        ]

    def cell(self, name: str, metric: str, compare: bool) -> Cell:
        """Return the mean of a row; `compare` adds the difference to the maximum."""
        value, maximum = (self._means.get(row, {}).get(metric) for row in (name, "maximum"))
        if value is None:
            return Cell("–")
        best = max(means[metric] for means in self._means.values() if metric in means)
        is_best = metric in DECIDING and number(value) == number(best)
        if not compare or maximum is None or not np.isfinite(value - maximum):
            return Cell(number(value), is_best)
        difference, trend = value - maximum, ""
        if abs(difference) > LEVEL * abs(maximum) and metric in (*DECIDING, *LOWER_IS_BETTER):
            trend = "up" if (difference < 0) == (metric in LOWER_IS_BETTER) else "down"
        text = f"{difference:+.3f}".replace("-", "−")
        return Cell(number(value), is_best, "=" if text[1:] == "0.000" else text, trend)


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent from 0.001 to 99999."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "−∞" if value == -math.inf else "–"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2g}".replace("-", "−")
    digits = min(max(2 - math.floor(math.log10(abs(value))), 0), 4)
    return f"{value:.{digits}f}".replace("-", "−")


def percent(part: float, whole: float) -> str:
    """Return a share; "100 %" and "0 %" only where it is exactly that."""
    if not whole:
        return "–"
    share = 100.0 * part / whole
    if part in (0, whole):
        return f"{share:.0f} %"
    if share > 99.9:
        return "> 99.9 %"
    return "< 0.1 %" if share < 0.1 else f"{share:.1f} %"
