"""The files of an evaluation: CSV of every image, JSON and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.evaluation.scores import CONVENTIONS, METRICS, SOURCE_METRICS, Row, means
from training.tables import markdown_table

FUSED = "fused"


class Scored(NamedTuple):
    """The figures of one image: of the model's fusion and of the trivial ones."""

    stem: str
    rows: dict[str, Row]  # name of the fusion -> metric -> figure


def speed_of(durations_s: Sequence[float], width: int, height: int) -> dict[str, float]:
    """Return the figures of one pair's time, in milliseconds, over runs in sequence."""
    ms = np.asarray(durations_s, np.float64) * 1e3
    found = {"mean": ms.mean(), "std": ms.std(), "min": ms.min(), "max": ms.max()}
    found["median"] = np.median(ms)
    figures = {f"{name}_ms": float(value) for name, value in found.items()}
    return {"width": width, "height": height, "runs": len(ms), **figures, "fps": 1e3 / ms.mean()}


SPEED = """Inference Time Statistics:
  Mean: {mean_ms:.2f} ± {std_ms:.2f} ms
  Min: {min_ms:.2f} ms
  Max: {max_ms:.2f} ms
  Median: {median_ms:.2f} ms
  FPS: {fps:.2f}"""


def summarize(
    scored: Sequence[Scored],
    data_root: Path,
    model: dict[str, Any],
    not_computed: dict[str, str],
    with_teacher: int,
    speed: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return the content of summary.json, without the metrics that no image has."""
    fusions = list(scored[0].rows)
    rows = {name: means([image.rows[name] for image in scored]) for name in fusions}
    present = [m for m in METRICS if any(row[m] is not None for row in rows.values())]
    return {
        "data_root": str(data_root),
        "pairs": len(scored),
        "pairs_with_teacher": with_teacher,
        "conventions": CONVENTIONS,
        "model": model,
        "means": {name: {m: rows[name][m] for m in present} for name in fusions},
        "not_computed": not_computed,
        "speed": speed,
    }


def markdown(summary: dict[str, Any], scored: Sequence[Scored]) -> str:
    """Return the summary as Markdown: tables, and the images on which the model is weakest."""
    model = summary["model"]
    facts = ", ".join(f"{key}: {value}" for key, value in model.items() if value not in (None, ""))
    lines = [
        f"# Evaluation of {Path(model['file']).name}\n",
        f"{summary['pairs']} pairs of `{summary['data_root']}`, {summary['pairs_with_teacher']} "
        f"with teacher images. {CONVENTIONS}\n",
        facts + "\n",
    ]
    names = list(next(iter(summary["means"].values())))
    for title, wanted in (
        ("Against the sources", [n for n in names if n in SOURCE_METRICS]),
        ("Against the teacher", [n for n in names if n not in SOURCE_METRICS]),
    ):
        if wanted:
            rows = {name: [row[m] for m in wanted] for name, row in summary["means"].items()}
            lines += [f"## {title}", "", markdown_table(wanted, rows), ""]
    lines += [f"{name}: not computed, {why}" for name, why in summary["not_computed"].items()]
    weakest = weakest_images(scored)
    if weakest:
        lines += ["", "## Where it falls behind the maximum most (Qabf)", "", *weakest]
    if speed := summary["speed"]:
        what = "{width}x{height}, one pair at a time, {runs} runs".format(**speed)
        lines += ["", f"## Speed, {what}", "", "```", SPEED.format(**speed), "```"]
    return "\n".join(lines).rstrip() + "\n"


def weakest_images(scored: Sequence[Scored], most: int = 5) -> list[str]:
    """Return the images on which the model's Qabf is furthest below the maximum's, as a list."""
    gaps = []
    for image in scored:
        ours, theirs = (image.rows.get(name, {}).get("Qabf") for name in (FUSED, "maximum"))
        if ours is not None and theirs is not None and theirs - ours >= 5e-4:
            gaps.append((ours - theirs, image.stem))
    return [f"* `{stem}`: {gap:+.3f}" for gap, stem in sorted(gaps)[:most]]


def csv_text(scored: Sequence[Scored]) -> str:
    """Return a line for every image and fusion, all digits; empty where there is no figure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "fusion", *METRICS])
    for image in scored:
        for fusion, row in image.rows.items():
            values = ["" if (v := row[name]) is None else repr(float(v)) for name in METRICS]
            writer.writerow([image.stem, fusion, *values])
    return stream.getvalue()
