"""The table of means on the page: configurations first, the trivial fusions below."""

from __future__ import annotations

from html import escape
from typing import Any, Mapping, Optional, Sequence, Tuple

import numpy as np

from irvis_fusion_ros.evaluation.report.svg import number
from irvis_fusion_ros.evaluation.summary import DECIDING, LEVEL, LOWER_IS_BETTER, verdict

_Groups = Sequence[Tuple[str, Sequence[str]]]
_DECIDING: _Groups = (
    ("what is kept of both sources: decide by these", DECIDING),
    ("edges in place, steadiness", ("edges_vis", "edges_ir", "ghost", "flicker")),
)
_FURTHER: _Groups = (
    ("clean forms", ("SSIM255", "MS_SSIM", "PSNR255")),
    ("published forms", ("PSNR", "CC")),
    ("one image alone: noise and stretching raise these", ("EN", "SD", "SF", "AG")),
)


def score_section(summary: Mapping[str, Any]) -> str:
    """The table of means, with the trivial fusions below."""
    rows = summary["rows"]
    sentences = "".join(
        f"<li><b>{escape(name)}</b>: {escape(verdict(rows, name))}</li>"
        for name in summary["configurations"]
    )
    note = (
        "Means over the measured frames. Small figures: difference to the pixel-wise maximum, "
        "which beats most published networks on MI, VIF and Qabf; coloured where it is more than "
        "1 %. Bold: best of the column. "
        "Tables of other evaluators cannot be mixed with this one."
    )
    return (
        f"<section><h2>Against the trivial fusions</h2><ul class='verdict'>{sentences}</ul>"
        f'<p class="note">{note}</p><div class="scroll">{_score_table(rows, _DECIDING)}</div>'
        "<details open><summary>Further metrics</summary>"
        f'<div class="scroll">{_score_table(rows, _FURTHER)}</div></details></section>'
    )


def _score_table(rows: Mapping[str, Any], columns: _Groups) -> str:
    groups = [(title, [m for m in names if _measured(rows, m)]) for title, names in columns]
    groups = [(title, names) for title, names in groups if names]
    order = [m for _, names in groups for m in names]
    firsts = {names[0] for _, names in groups}
    means = {n: {m: e["mean"] for m, e in r["metrics"].items()} for n, r in rows.items()}
    for name, row in rows.items():
        if "mean" in row["flicker"]:
            means[name]["flicker"] = row["flicker"]["mean"]
    best = {}
    for metric in order:
        there = [v[metric] for v in means.values() if metric in v]
        best[metric] = (min if metric in LOWER_IS_BETTER else max)(there, default=None)
    top = "".join(f'<th class="sep" colspan="{len(n)}">{escape(t)}</th>' for t, n in groups)
    head = "".join(f"<th{_sep(m, firsts)}>{escape(m.replace('_', ' '))}</th>" for m in order)
    body = []
    styles = {n: i for i, n in enumerate(n for n, r in rows.items() if r["kind"] != "reference")}
    for name, row in rows.items():
        style = f"s{styles[name] % 5}" if name in styles else "ref"
        cells = "".join(
            _score_cell(means, name, m, best[m], name in styles, m in firsts) for m in order
        )
        body.append(
            f"<tr{' class=own' if name in styles else ''}><td><span class='key {style}'></span>"
            f"{escape(name)}</td><td>{row['measured']}</td>{cells}</tr>"
        )
    return (
        f"<table><thead><tr class='group'><th></th><th></th>{top}</tr><tr><th></th>"
        f"<th>frames</th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _score_cell(
    means: Mapping[str, Mapping[str, float]],
    name: str,
    metric: str,
    best: Optional[float],
    own: bool,
    first: bool,
) -> str:
    value = means[name].get(metric)
    kinds = ["sep"] if first else []
    if value is None:
        return f'<td class="{" ".join(kinds)}">–</td>'
    if best is not None and number(value) == number(best) and metric in DECIDING:
        kinds.append("best")
    small, maximum = "", means.get("maximum", {}).get(metric)
    if own and maximum is not None and np.isfinite(value - maximum):
        small = _difference(value - maximum, LEVEL * abs(maximum), metric)
    return f'<td class="{" ".join(kinds)}">{number(value)}{small}</td>'


def _sep(metric: str, firsts: Any) -> str:
    return ' class="sep"' if metric in firsts else ""


def _measured(rows: Mapping[str, Any], metric: str) -> bool:
    if metric == "flicker":
        return any(row["flicker"]["count"] for row in rows.values())
    return any(metric in row["metrics"] for row in rows.values())


def _difference(difference: float, level: float, metric: str) -> str:
    """What is written below a value; coloured where it is more than level and says something."""
    text = f"{difference:+.3f}".replace("-", "−")
    if float(f"{difference:.3f}") == 0.0:
        text = "="
    style = ""
    if abs(difference) > level and metric in (*DECIDING, *LOWER_IS_BETTER):
        style = "up" if (difference < 0) == (metric in LOWER_IS_BETTER) else "down"
    return f'<small class="{style}">{text}</small>'
