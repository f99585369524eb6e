"""Images of single and double edges: the base alone, and with the learned field."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.learned_registration.methods import Learned, warped
from benchmarks.shared.pairs import Pair
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.image_sheet import caption_row, stack_rows
from irvis_fusion_core.registration.learned.field_image import field_image

_WIDTH = 300


def write_sheet(
    path: Path, scenes: Iterable[Pair], learned: Learned, engine: RealtimeFusion
) -> None:
    """Write a row for each scene, whose thermal image is displaced: fused without and with it."""
    rows = []
    for scene in scenes:
        field = learned(scene.ir, scene.luma)
        shown = {
            "fused, base": engine.fuse_frame(scene.ir, scene.vis),
            "fused, learned": engine.fuse_frame(warped(scene.ir, field), scene.vis),
            "field": field_image(scene.vis, field),
        }
        rows.append(caption_row(shown, _WIDTH))
    sheet = np.ascontiguousarray(stack_rows(rows)[..., ::-1])
    if not cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82]):
        raise SystemExit(f"expected to write {path}; choose another --images")
