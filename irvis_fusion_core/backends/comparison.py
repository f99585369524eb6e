"""Compare the images of an exported file with those of the student that it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from irvis_fusion_core.backends import BackendOptions, open_backend
from irvis_fusion_core.backends.model_file import BOUNDS
from irvis_fusion_core.errors import ModelError
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import Student


def largest_difference(
    model: Student,
    onnx_path: str | Path,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    vis_order: str = "rgb",
) -> int:
    """Return the largest difference of a file's images from the student's, in grey levels.

    Args:
        pairs: uint8 HxWx1 and uint8 HxWx3 in `vis_order`.
    """
    student = PixelStudent(model, vis_order).eval()
    worst = 0
    options = BackendOptions(vis_order=vis_order)
    with open_backend("onnxruntime", str(onnx_path), options) as engine:
        for ir, vis in pairs:
            with torch.no_grad():
                own = student(torch.from_numpy(ir)[None], torch.from_numpy(vis)[None])[0].numpy()
            difference = engine.fuse(ir, vis).astype(np.int16) - own
            worst = max(worst, int(np.abs(difference).max()))
    return worst


def require_likeness(
    model: Student,
    onnx_path: str | Path,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    precision: str,
    vis_order: str = "rgb",
) -> int:
    """As `largest_difference`; ModelError where it is more than `BOUNDS` of the precision."""
    worst, most = largest_difference(model, onnx_path, pairs, vis_order), BOUNDS[precision]
    if worst > most:
        raise ModelError(
            f"expected {onnx_path} to differ from the student by at most {most} grey levels, "
            f"found {worst}; leave {precision} out, and look for weights of extreme size"
        )
    return worst
