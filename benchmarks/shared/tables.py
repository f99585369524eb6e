"""Markdown tables, as the benchmarks print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


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
        cells = (cell(value, how) for value, how in zip(values, styles))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: object, style: str) -> str:
    """Return a figure as text: a dash for NaN; text stays as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and np.isnan(value):
        return "–"
    return format(value, style)
