"""Markdown tables of figures, for evaluation reports and model cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(rows: Mapping[str, Mapping[str, float | None]], names: Sequence[str]) -> list[str]:
    """Return the lines of a Markdown table with one row for every fusion."""
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for fusion, row in rows.items():
        lines.append(f"| {fusion} | " + " | ".join(cell(row[name]) for name in names) + " |")
    return lines


def cell(value: float | None) -> str:
    """Return a figure with three decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
