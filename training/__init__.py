"""Training of students and teachers, and what a notebook needs of it in one place.

    from training import LRFinder, analyze_model, create_student_model
    from training import export_to_onnx, load_checkpoint

Each name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

import irvis_fusion_core

__all__ = ["LRFinder", *irvis_fusion_core.__all__]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "training.find_lr" if name == "LRFinder" else "irvis_fusion_core"
    return getattr(importlib.import_module(home), name)
