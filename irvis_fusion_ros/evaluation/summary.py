"""Means, percentiles and counts of the tables, for summary.json and for the page."""

from __future__ import annotations

import math
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import irvis_fusion_core
from irvis_fusion_core.optional_packages import installed_version
from irvis_fusion_ros.evaluation.measure import REFERENCES, REGISTRATION_COLUMNS, SCORE_COLUMNS
from irvis_fusion_ros.evaluation.recording import FRAMES, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

DECIDING = ("VIF", "Qabf", "SSIM", "SCD", "MI")
"""Higher is better, and noise or stretching do not raise them; see docs/evaluation.md."""
LOWER_IS_BETTER = ("ghost", "flicker")
LEVEL = 0.01
"""Means that differ by less than this share are called level."""

_PERCENTILES = {"min": 0, "p05": 5, "p50": 50, "p95": 95, "p99": 99, "max": 100}
_PACKAGES = (
    "numpy", "cv2", "openvino", "onnxruntime", "torch", "tensorrt", "tensorrt_rtx", "rosbags",
    "rclpy",
)  # fmt: skip


def summarise(folder: str, names: Sequence[str]) -> dict[str, Any]:
    """Return `rows` (scores), `configurations` (outcomes of frames) and `timing` by name.

    `folder` holds the tables, `names` are those of the configurations.
    """
    frames, references, timing = (
        os.path.join(folder, name) for name in (FRAMES, REFERENCE_ROWS, TIMING)
    )
    rows = {name: _scores("configuration", frames, name) for name in names}
    rows.update({name: _scores("reference", references, name) for name in REFERENCES})
    times = ("engine_ms", "frame_ms")
    return {
        "rows": rows,
        "configurations": {name: _outcomes(frames, name) for name in names},
        "registration": {name: each for name in names if (each := _registration(frames, name))},
        "timing": {name: _spreads(timing, times, {"configuration": name}) for name in names},
    }


def spread(values: np.ndarray) -> dict[str, float]:
    """Return count, mean, deviation and percentiles of the values that are not NaN."""
    there = values[~np.isnan(values)]
    if not there.size:
        return {"count": 0}
    with np.errstate(invalid="ignore"):  # PSNR is infinite if images are equal
        found = {"count": there.size, "mean": float(there.mean()), "std": float(there.std())}
    # np.percentile gives NaN between equal infinities.
    places = np.array(list(_PERCENTILES.values())) / 100.0 * (there.size - 1)
    percentiles = np.interp(places, np.arange(there.size), np.sort(there))
    return {**found, **dict(zip(_PERCENTILES, percentiles.tolist()))}


def verdict(rows: Mapping[str, Any], name: str) -> str:
    """Return one sentence: on which metrics a configuration beats every trivial fusion."""
    metrics_of: dict[tuple[int, str], list[str]] = {}
    for metric in DECIDING:
        own = rows[name]["metrics"].get(metric, {}).get("mean")
        others = {
            other: row["metrics"][metric]["mean"]
            for other, row in rows.items()
            if row["kind"] == "reference" and row["metrics"].get(metric, {}).get("count")
        }
        if own is None or not others:
            continue
        best, highest = max(others.items(), key=lambda each: each[1])
        if abs(own - highest) <= LEVEL * abs(highest):
            result = (1, f"level with “{best}”")
        elif own > highest:
            result = (0, "better than every trivial fusion")
        else:
            result = (2, f"behind “{best}”")
        metrics_of.setdefault(result, []).append(metric)
    if not metrics_of:
        return "Nothing was measured."
    results = sorted(metrics_of, key=lambda result: result[0])
    text = "; ".join(f"{result[1]} on {_listed(metrics_of[result])}" for result in results)
    return text[0].upper() + text[1:] + f" (level: within {100 * LEVEL:g} %)."


def facts_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of one bag for a report of several, from its summary.json.

    Columns of one of several configurations begin with its name.
    """
    counts: dict[str, int] = {}
    means: dict[str, dict[str, float]] = {}
    values: dict[str, Any] = {"seconds of the bag": summary["bag"]["duration_s"]}
    for name, configuration in summary["configurations"].items():
        prefix = f"{name}: " if len(summary["configurations"]) > 1 else ""
        counts[prefix + "frames"] = configuration["frames"]
        for outcome in ("fused", "passed", "dropped"):
            counts[prefix + outcome] = configuration["outcomes"].get(outcome, 0)
        row = summary["rows"][name]
        spreads = {metric: row["metrics"].get(metric, {}) for metric in DECIDING}
        spreads["flicker"] = row["flicker"]
        for metric, found in spreads.items():
            if isinstance(found.get("mean"), (int, float)):  # infinity is a text
                means[prefix + metric] = {key: found[key] for key in ("mean", "count")}
        values[prefix + "skew ms, median"] = configuration["skew_ms"].get("p50")
        frame_ms = summary["timing"][name]["frame_ms"]
        values[prefix + "frame ms, median"] = frame_ms.get("p50")
    return {"counts": counts, "means": means, "values": values}


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, the machine and the installed packages."""
    found = {
        "irvis_fusion": irvis_fusion_core.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }
    found.update({name: version for name in _PACKAGES if (version := installed_version(name))})
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


def _scores(kind: str, path: str, name: str) -> dict[str, Any]:
    metrics = _spreads(path, (*SCORE_COLUMNS, "flicker"), {kind: name})
    flicker = metrics.pop("flicker")
    return {
        "kind": kind,
        "measured": max(each["count"] for each in metrics.values()),
        "metrics": {metric: each for metric, each in metrics.items() if each["count"]},
        "flicker": flicker,
    }


def _spreads(
    path: str, columns: Sequence[str], where: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    return {name: spread(values) for name, values in read_columns(path, columns, where).items()}


def _outcomes(path: str, name: str) -> dict[str, Any]:
    where = {"configuration": name}
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    thermal = set()
    for row in read_rows(path, where):
        outcomes[row["outcome"]] += 1
        thermal.add(row["ir_stamp_ns"])
        if row["outcome"] != "fused":
            reasons[f"{row['outcome']}: {row['reason']}"] += 1
    fused = {**where, "outcome": "fused"}
    return {
        "frames": sum(outcomes.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "not_fused": dict(sorted(reasons.items())),
        "thermal_frames_used": len(thermal - {""}),
        **_spreads(path, ("skew_ms",), fused),
    }


def _registration(path: str, name: str) -> dict[str, dict[str, float]]:
    """Return the spreads of `REGISTRATION_COLUMNS`; {} of a mode without a field."""
    found = _spreads(path, REGISTRATION_COLUMNS, {"configuration": name})
    return found if found["moved_px"]["count"] else {}


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
