"""The tables of means: configurations first, the trivial fusions below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from irvis_fusion_ros.evaluation.report.numbers import number
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
    style: str
    difference: str = ""
    trend: str = ""


class ScoreRow(NamedTuple):
    """A configuration or a reference."""

    name: str
    measured: int
    cells: list[Cell]


class ScoreTable(NamedTuple):
    """Groups are (heading, number of columns); columns are (name, style)."""

    groups: list[tuple[str, int]]
    columns: list[tuple[str, str]]
    rows: list[ScoreRow]


def score_table(rows: Mapping[str, Any], headings: Mapping[str, tuple[str, ...]]) -> ScoreTable:
    """Return the means of the measured columns.

    Args:
        rows: Name -> scores, as in summary.json.
        headings: Heading -> its columns.
    """
    means = {name: _means(row) for name, row in rows.items()}
    groups = {
        heading: [m for m in metrics if any(m in row for row in means.values())]
        for heading, metrics in headings.items()
    }
    groups = {heading: metrics for heading, metrics in groups.items() if metrics}
    columns = [(m, "" if index else "sep") for g in groups.values() for index, m in enumerate(g)]
    table = ScoreTable([(h, len(metrics)) for h, metrics in groups.items()], columns, [])
    for name, row in rows.items():
        is_own = row["kind"] == "configuration"
        cells = [_cell(means, name, metric, style, is_own) for metric, style in columns]
        table.rows.append(ScoreRow(name, row["measured"], cells))
    return table


def _means(row: Mapping[str, Any]) -> dict[str, float]:
    spreads = {**row["metrics"], "flicker": row["flicker"]}
    return {metric: each["mean"] for metric, each in spreads.items() if "mean" in each}


def _cell(
    means: Mapping[str, Mapping[str, float]], name: str, metric: str, style: str, is_own: bool
) -> Cell:
    value, maximum = means[name].get(metric), means.get("maximum", {}).get(metric)
    if value is None:
        return Cell("–", style)
    best = max(row[metric] for row in means.values() if metric in row)
    if metric in DECIDING and number(value) == number(best):
        style += " best"
    if not is_own or maximum is None or not np.isfinite(value - maximum):
        return Cell(number(value), style)
    difference, trend = value - maximum, ""
    if abs(difference) > LEVEL * abs(maximum) and metric in (*DECIDING, *LOWER_IS_BETTER):
        trend = "up" if (difference < 0) == (metric in LOWER_IS_BETTER) else "down"
    text = f"{difference:+.3f}".replace("-", "−")
    return Cell(number(value), style, "=" if text[1:] == "0.000" else text, trend)
