"""What an evaluation leaves behind: CSV of every image, JSON, Markdown, sheets to look at."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from training.errors import StorageError
from training.evaluation.scores import CONVENTIONS, METRICS, SOURCE_METRICS, Row, means

FUSED = "fused"
CAPTION_PX = 28


class Scored(NamedTuple):
    """One image's figures: of the model's fusion and of the trivial ones."""

    stem: str
    rows: Dict[str, Row]  # fusion's name -> metric -> figure


class Speed(NamedTuple):
    """How long one pair took, in milliseconds, over `runs` runs one after the other."""

    width: int
    height: int
    runs: int
    mean_ms: float
    std_ms: float
    min_ms: float
    max_ms: float
    median_ms: float

    @property
    def fps(self) -> float:
        """Pairs a second at the mean."""
        return 1e3 / self.mean_ms if self.mean_ms > 0 else float("inf")

    @classmethod
    def of(cls, durations_s: Sequence[float], width: int, height: int) -> "Speed":
        """The figures of measured durations in seconds; the deviation is the population's."""
        ms = np.asarray(durations_s, np.float64) * 1e3
        found = (ms.mean(), ms.std(), ms.min(), ms.max(), np.median(ms))
        return cls(width, height, len(ms), *(float(v) for v in found))

    def text(self) -> str:
        """The block that is printed."""
        return (
            "Inference Time Statistics:\n"
            f"  Mean: {self.mean_ms:.2f} ± {self.std_ms:.2f} ms\n"
            f"  Min: {self.min_ms:.2f} ms\n"
            f"  Max: {self.max_ms:.2f} ms\n"
            f"  Median: {self.median_ms:.2f} ms\n"
            f"  FPS: {self.fps:.2f}"
        )


def summarize(
    scored: Sequence[Scored],
    data_root: Path,
    model: Dict[str, Any],
    not_computed: Dict[str, str],
    with_teacher: int,
    speed: Optional[Speed] = None,
) -> Dict[str, Any]:
    """The summary as it goes into JSON; metrics that no image has are left out of the table."""
    fusions = list(scored[0].rows)
    table = {name: means(image.rows[name] for image in scored) for name in fusions}
    present = [m for m in METRICS if any(row[m] is not None for row in table.values())]
    return {
        "data_root": str(data_root),
        "pairs": len(scored),
        "pairs_with_teacher": with_teacher,
        "conventions": CONVENTIONS,
        "model": model,
        "means": {name: {m: table[name][m] for m in present} for name in fusions},
        "not_computed": not_computed,
        "speed": None if speed is None else {**speed._asdict(), "fps": speed.fps},
    }


def markdown(summary: Dict[str, Any], scored: Sequence[Scored]) -> str:
    """The summary for people: tables, and on which images the model is weakest."""
    model = summary["model"]
    lines = [
        f"# Evaluation of {Path(model['file']).name}",
        "",
        f"{summary['pairs']} pairs of `{summary['data_root']}`, {summary['pairs_with_teacher']} "
        f"with teacher images. {CONVENTIONS}",
        "",
        ", ".join(f"{key}: {value}" for key, value in model.items() if value not in (None, "")),
        "",
    ]
    names = list(next(iter(summary["means"].values())))
    for title, wanted in (
        ("Against the sources", [n for n in names if n in SOURCE_METRICS]),
        ("Against the teacher", [n for n in names if n not in SOURCE_METRICS]),
    ):
        if wanted:
            lines += [f"## {title}", "", *table(summary["means"], wanted), ""]
    lines += [f"{name}: not computed, {why}" for name, why in summary["not_computed"].items()]
    weakest = weakest_images(scored)
    if weakest:
        lines += ["", "## Where it falls behind the maximum most (Qabf)", "", *weakest]
    if summary["speed"]:
        speed = Speed(**{k: v for k, v in summary["speed"].items() if k != "fps"})
        lines += ["", f"## Speed, {speed.width}x{speed.height}, one pair at a time", ""]
        lines += ["```", speed.text(), "```"]
    return "\n".join(lines).rstrip() + "\n"


def table(rows: Dict[str, Dict[str, Any]], names: Sequence[str]) -> List[str]:
    """A Markdown table, a line for every fusion."""
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for fusion, row in rows.items():
        lines.append(f"| {fusion} | " + " | ".join(cell(row[name]) for name in names) + " |")
    return lines


def cell(value: Optional[float]) -> str:
    """A figure of a table."""
    return "–" if value is None else f"{value:.3f}"


def weakest_images(scored: Sequence[Scored], most: int = 5) -> List[str]:
    """The images on which the model's Qabf falls furthest behind the maximum's, as a list."""
    gaps = []
    for image in scored:
        ours, theirs = (image.rows.get(name, {}).get("Qabf") for name in (FUSED, "maximum"))
        if ours is not None and theirs is not None and theirs - ours >= 5e-4:
            gaps.append((ours - theirs, image.stem))
    return [f"* `{stem}`: {gap:+.3f}" for gap, stem in sorted(gaps)[:most]]


def csv_text(scored: Sequence[Scored]) -> str:
    """A line for every image and fusion, all digits; empty where a figure cannot be had."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "fusion", *METRICS])
    for image in scored:
        for fusion, row in image.rows.items():
            values = ["" if row[name] is None else repr(float(row[name])) for name in METRICS]
            writer.writerow([image.stem, fusion, *values])
    return stream.getvalue()


def json_text(summary: Dict[str, Any]) -> str:
    """Strict JSON, readable for people."""
    return json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def sheet(images: Dict[str, np.ndarray]) -> np.ndarray:
    """Images of one size side by side under their names.

    :param images: caption -> uint8 H x W or H x W x 3 RGB.
    :return: uint8 RGB, CAPTION_PX rows taller.
    """
    columns = []
    for caption, image in images.items():
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        strip = np.full((CAPTION_PX, image.shape[1], 3), 255, np.uint8)
        cv2.putText(strip, caption, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, 16)
        columns.append(np.concatenate([strip, image]))
    return np.concatenate(columns, axis=1)


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write an RGB image whole or not at all.

    :raises StorageError: it cannot be written.
    """
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    if not done:
        raise StorageError(f"expected OpenCV to encode {path.name}, found that it cannot")
    write_bytes(path, data.tobytes())


def make_folder(path: Path) -> Path:
    """The folder, made where needed, so that a bad place is known before hours of work.

    :raises StorageError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"expected to write into {path}, found: {error}; name another folder"
        ) from error
    if not os.access(path, os.W_OK):
        raise StorageError(f"expected to write into {path}, found that it is read-only")
    return path


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, making its folder.

    :raises StorageError: the disk is full or the place cannot be written to.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StorageError(
            f"expected to write {path}, found: {error}; make room or name another folder"
        ) from error
