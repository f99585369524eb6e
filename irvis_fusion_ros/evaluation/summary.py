"""Means, percentiles and counts of the tables, for summary.json and for the page."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import irvis_fusion_core
from irvis_fusion_ros.evaluation.measure import REFERENCES, SCORE_COLUMNS
from irvis_fusion_ros.evaluation.recording import FRAMES, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

DECIDING = ("VIF", "Qabf", "SSIM", "SCD", "MI")
"""Higher is better, and noise or stretching do not raise them; see docs/evaluation.md."""
LOWER_IS_BETTER = ("ghost", "flicker")
LEVEL = 0.01
"""Means that differ by less than this share are called level."""

_PACKAGES = (
    "numpy", "cv2", "openvino", "onnxruntime", "torch", "tensorrt", "tensorrt_rtx", "rosbags",
    "rclpy",
)  # fmt: skip
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "rclpy": "ros-jazzy-rclpy"}


def summarise(folder: str, names: Sequence[str]) -> dict[str, Any]:
    """Return `rows` (scores), `configurations` (outcomes of frames) and `timing`.

    Args:
        folder: The folder of the tables.
        names: The names of the configurations.
    """
    frames, references, timing = (
        os.path.join(folder, name) for name in (FRAMES, REFERENCE_ROWS, TIMING)
    )
    rows = {name: _row("configuration", frames, name) for name in names}
    rows.update({name: _row("reference", references, name) for name in REFERENCES})
    times = {
        name: read_columns(timing, ("engine_ms", "frame_ms"), {"configuration": name})
        for name in names
    }
    return {
        "rows": rows,
        "configurations": {name: _outcomes(frames, name) for name in names},
        "timing": {n: {c: spread(values) for c, values in t.items()} for n, t in times.items()},
    }


def spread(values: np.ndarray) -> dict[str, float]:
    """Return count, mean, deviation and percentiles of the values that are not NaN."""
    there = values[~np.isnan(values)]
    if not there.size:
        return {"count": 0}
    with np.errstate(invalid="ignore"):  # PSNR is infinite if images are equal
        found = {"count": there.size, "mean": float(there.mean()), "std": float(there.std())}
    low, p5, p50, p95, p99, high = _percentiles(there, (0, 5, 50, 95, 99, 100))
    found.update(min=low, p05=p5, p50=p50, p95=p95, p99=p99, max=high)
    return found


def verdict(rows: Mapping[str, Any], name: str) -> str:
    """Return one sentence: on which metrics a configuration beats every trivial fusion."""
    better: list[str] = []
    level: dict[str, list[str]] = {}
    worse: dict[str, list[str]] = {}
    for metric in DECIDING:
        own = rows[name]["metrics"].get(metric, {}).get("mean")
        others = {
            other: row["metrics"][metric]["mean"]
            for other, row in rows.items()
            if row["kind"] == "reference" and row["metrics"].get(metric, {}).get("count")
        }
        if own is None or not others:
            continue
        best = max(others, key=lambda other: others[other])
        if abs(own - others[best]) <= LEVEL * abs(others[best]):
            level.setdefault(best, []).append(metric)
        elif own > others[best]:
            better.append(metric)
        else:
            worse.setdefault(best, []).append(metric)
    parts = ["better than every trivial fusion on " + _listed(better)] if better else []
    parts += [f"level with “{other}” on {_listed(names)}" for other, names in level.items()]
    parts += [f"behind “{other}” on {_listed(names)}" for other, names in worse.items()]
    if not parts:
        return "Nothing was measured."
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + f" (level: within {100 * LEVEL:g} %)."


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, the machine and the installed packages."""
    found = {
        "irvis_fusion": irvis_fusion_core.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }
    found.update({name: version for name in _PACKAGES if (version := _version(name))})
    if os.environ.get("ROS_DISTRO"):
        found["ROS"] = os.environ["ROS_DISTRO"]
    return found


def plain(value: Any) -> Any:
    """Return a value for JSON: NaN as null, infinity as "inf", NumPy numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _row(kind: str, path: str, name: str) -> dict[str, Any]:
    columns = read_columns(path, (*SCORE_COLUMNS, "flicker"), {kind: name})
    scores = {column: spread(columns[column]) for column in SCORE_COLUMNS}
    return {
        "kind": kind,
        "measured": max(each["count"] for each in scores.values()),
        "metrics": {column: each for column, each in scores.items() if each["count"]},
        "flicker": spread(columns["flicker"]),
    }


def _outcomes(path: str, name: str) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    skews: list[float] = []
    thermal, last = 0, ""
    for row in read_rows(path):
        if row["configuration"] != name:
            continue
        outcomes[row["outcome"]] += 1
        if row["ir_stamp_ns"] and row["ir_stamp_ns"] != last:
            last = row["ir_stamp_ns"]
            thermal += 1
        if row["outcome"] != "fused":
            reasons[f"{row['outcome']}: {row['reason']}"] += 1
        elif row["skew_ms"]:
            skews.append(float(row["skew_ms"]))
    return {
        "frames": sum(outcomes.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "not_fused": dict(sorted(reasons.items())),
        "thermal_frames_used": thermal,
        "skew_ms": spread(np.array(skews)),
    }


def _percentiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Return percentiles as NumPy's, but without NaN between equal infinities."""
    ranked = np.sort(values)
    found = []
    for share in shares:
        at = share / 100.0 * (ranked.size - 1)
        low, high = ranked[int(math.floor(at))], ranked[int(math.ceil(at))]
        found.append(float(low if low == high else low + (high - low) * (at - math.floor(at))))
    return found


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _version(module: str) -> str:
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__version__", None):
        return str(loaded.__version__)
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return ""
