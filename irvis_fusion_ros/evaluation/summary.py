"""What the tables come to: means, percentiles and counts, for summary.json and for the page."""

from __future__ import annotations

import importlib
import math
import os
import platform
import sys
from collections import Counter
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

import irvis_fusion_core
from irvis_fusion_ros.evaluation.measure import SCORE_COLUMNS
from irvis_fusion_ros.evaluation.recording import FRAMES, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.references import REFERENCES
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

DECIDING = ("VIF", "Qabf", "SSIM", "SCD", "MI")
"""Where higher is better and noise or stretching do not help; see docs/evaluation.md."""
LOWER_IS_BETTER = ("ghost", "flicker")
LEVEL = 0.01
"""Means that differ by less than this share are called level."""

_PACKAGES = (
    "numpy", "cv2", "openvino", "onnxruntime", "torch", "tensorrt", "tensorrt_rtx", "rosbags",
    "rclpy",
)  # fmt: skip
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "rclpy": "ros-jazzy-rclpy"}


def summarise(folder: str, names: Sequence[str]) -> Dict[str, Any]:
    """`rows` (scores of all that is compared), `configurations` (what became of frames), `timing`.

    Args:
        folder: holds the tables.
        names: of the configurations.
    """
    frames, references, timing = (
        os.path.join(folder, name) for name in (FRAMES, REFERENCE_ROWS, TIMING)
    )
    columns = (*SCORE_COLUMNS, "flicker")
    rows: Dict[str, Any] = {}
    for name in names:
        rows[name] = _row("configuration", read_columns(frames, columns, {"configuration": name}))
    for name in REFERENCES:
        rows[name] = _row("reference", read_columns(references, columns, {"reference": name}))
    return {
        "rows": rows,
        "configurations": {name: _what_became(frames, name) for name in names},
        "timing": {
            name: {
                column: spread(values)
                for column, values in read_columns(
                    timing, ("engine_ms", "frame_ms"), {"configuration": name}
                ).items()
            }
            for name in names
        },
    }


def spread(values: np.ndarray) -> Dict[str, float]:
    """Count, mean, deviation and percentiles of the values that are there."""
    there = values[~np.isnan(values)]
    if not there.size:
        return {"count": 0}
    with np.errstate(invalid="ignore"):  # PSNR is infinite where images are equal
        found = {"count": there.size, "mean": float(there.mean()), "std": float(there.std())}
    low, p5, p50, p95, p99, high = _percentiles(there, (0, 5, 50, 95, 99, 100))
    found.update(min=low, p05=p5, p50=p50, p95=p95, p99=p99, max=high)
    return found


def verdict(rows: Mapping[str, Any], name: str) -> str:
    """One sentence: on which deciding metrics a configuration beats every trivial fusion."""
    better: List[str] = []
    level: Dict[str, List[str]] = {}
    worse: Dict[str, List[str]] = {}
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
    if not better and not worse and not level:
        return "Nothing was measured."
    parts = []
    if better:
        parts.append("better than every trivial fusion on " + _listed(better))
    parts += [f"level with “{other}” on {_listed(names)}" for other, names in level.items()]
    parts += [f"behind “{other}” on {_listed(names)}" for other, names in worse.items()]
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + f" (level: within {100 * LEVEL:g} %)."


def versions() -> Dict[str, str]:
    """This package, Python, the machine, and the packages that are installed."""
    found = {
        "irvis_fusion": irvis_fusion_core.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }
    for name in _PACKAGES:
        version = _version(name)
        if version:
            found[name] = version
    if os.environ.get("ROS_DISTRO"):
        found["ROS"] = os.environ["ROS_DISTRO"]
    return found


def plain(value: Any) -> Any:
    """As JSON has it: NaN becomes null, infinity the text "inf", numpy's numbers Python's."""
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


def _row(kind: str, columns: Dict[str, np.ndarray]) -> Dict[str, Any]:
    scores = {name: spread(columns[name]) for name in SCORE_COLUMNS}
    return {
        "kind": kind,
        "measured": max(each["count"] for each in scores.values()),
        "metrics": {name: each for name, each in scores.items() if each["count"]},
        "flicker": spread(columns["flicker"]),
    }


def _what_became(path: str, name: str) -> Dict[str, Any]:
    outcomes: Counter = Counter()
    reasons: Counter = Counter()
    skews: List[float] = []
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


def _percentiles(values: np.ndarray, shares: Sequence[float]) -> List[float]:
    """As numpy's, but exact where infinities stand beside one another."""
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
    metadata = importlib.import_module("importlib.metadata")
    try:
        return str(metadata.version(_DISTRIBUTIONS.get(module, module)))
    except metadata.PackageNotFoundError:
        return ""
