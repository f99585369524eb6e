"""Open a trained student."""

from __future__ import annotations

from pathlib import Path

from irvis_fusion_core.network.checkpoint import load_checkpoint
from irvis_fusion_core.network.student import Student, create_student_model


def open_student(path: str | Path, variant: str | None = None) -> Student:
    """Return the student of a checkpoint, in eval mode on the CPU.

    Args:
        path: ``.safetensors``, ``.pth`` or ``.pt``.

    Raises:
        CheckpointError: Missing, truncated, foreign, or of another variant than `variant`.
    """
    return load_checkpoint(path, None if variant is None else create_student_model(variant))
