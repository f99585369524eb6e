"""Markdown tables, as the benchmarks print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")


def markdown_table(
    columns: Sequence[str],
    rows: Mapping[str, Sequence[object]],
    style: str | Sequence[str] = ".3f",
    corner: str = "",
) -> str:
    """Return a Markdown table.

    Args:
        columns: Headings of the figures.
        rows: Name -> a figure or text for each column. NaN is a dash.
        style: Format of all figures, or one for each column.
        corner: Heading of the names.
    """
    styles = [style] * len(columns) if isinstance(style, str) else style
    head = f"| {corner} |" if corner else "| |"
    lines = [f"{head} " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, values in rows.items():
        lines.append(f"| {name} | " + " | ".join(map(_cell, values, styles)) + " |")
    return "\n".join(lines)


def _cell(value: object, style: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and np.isnan(value):
        return "–"
    return format(value, style)


def mean_rows(rows: Mapping[Key, Sequence[Sequence[float]]]) -> dict[Key, list[float]]:
    """Return key -> mean of each column over those rows that have it; NaN where none has."""
    means = {}
    for key, values in rows.items():
        figures = np.array(values, float)
        masked = np.ma.array(figures, mask=np.isnan(figures))
        means[key] = masked.mean(axis=0).filled(np.nan).tolist()
    return means
