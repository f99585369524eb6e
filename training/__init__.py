"""Training of students and teachers, and what a notebook needs of it in one place.

    from training import LRFinder, analyze_model, create_student_model
    from training import export_to_onnx, load_checkpoint

Each name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "LRFinder": "training.find_lr",
    "RealtimeFusion": "irvis_fusion_core",
    "analyze_model": "irvis_fusion_core",
    "create_student_model": "irvis_fusion_core",
    "export_to_onnx": "irvis_fusion_core",
    "load_checkpoint": "irvis_fusion_core",
    "save_checkpoint": "irvis_fusion_core",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
