"""Infrared-visible fusion: numpy in, numpy out, on whatever engine the machine has.

    from irvis_fusion_core import RealtimeFusion

    with RealtimeFusion() as fusion:
        fused = fusion.fuse_frame(ir, vis)

Importing this package imports neither an engine nor OpenCV nor numpy: each name below is fetched
when it is first used (PEP 562), and the engines when a model is opened.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from irvis_fusion_core.moved_modules import keep_old_names

__version__ = "1.0.0"

_HOMES = {
    "RealtimeFusion": "irvis_fusion_core.fusion",
    "analyze_model": "irvis_fusion_core.network.analysis",
    "create_student_model": "irvis_fusion_core.network.student",
    "export_to_onnx": "irvis_fusion_core.network.export",
    "load_checkpoint": "irvis_fusion_core.network.checkpoint",
    "save_checkpoint": "irvis_fusion_core.network.checkpoint",
}

__all__ = [
    "RealtimeFusion",
    "analyze_model",
    "create_student_model",
    "export_to_onnx",
    "load_checkpoint",
    "save_checkpoint",
]

keep_old_names(
    __name__,
    {
        "demo": "night_street demo_pairs",
        "detectors": "people_detector",
        "metrics": "fidelity video_metrics",
        "network": "student pixel_student checkpoint export analysis",
        "registration": (
            "warp_maps camera_geometry camera_model online_alignment alignment_tracker "
            "alignment_evidence"
        ),
        "streams": "pairing pairing_policy health time_offset",
    },
    {
        "backends.device_memory": "backends.cuda_memory",
        "commands.command_line": "command_line",
        "detectors.box": "detectors.detection",
        "detectors.hog": "detectors.people_detector",
        "detectors.yolo": "detectors.detector_file",
        "detectors.selection": "detectors",
        "gif": "film",
        "metric_planes": "metrics.planes",
        "thermal_limits": "thermal.methods",
        "thermal_repair": "thermal.raw_frames",
        "thermal_stretch": "thermal.rescale",
    },
)

if TYPE_CHECKING:
    from irvis_fusion_core.fusion import RealtimeFusion
    from irvis_fusion_core.network.analysis import analyze_model
    from irvis_fusion_core.network.checkpoint import load_checkpoint, save_checkpoint
    from irvis_fusion_core.network.export import export_to_onnx
    from irvis_fusion_core.network.student import create_student_model


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError("module {!r} has no attribute {!r}".format(__name__, name))
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
