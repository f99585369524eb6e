"""Markdown tables of figures, for evaluations, model cards and benchmarks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def markdown_table(
    columns: Sequence[str],
    rows: Mapping[str, Sequence[object]],
    style: str | Sequence[str] = ".3f",
    corner: str = "",
) -> str:
    """Return a Markdown table.

    Args:
        rows: Name -> a figure or text for each column.
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


def cell(value: object, style: str = ".3f") -> str:
    """Return a figure as text: a dash for None and NaN; text stays as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return value if isinstance(value, str) else format(value, style)
