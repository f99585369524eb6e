"""Checkerboards of both cameras, to judge an alignment by."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.calibration.oriented_gradients import grey
from irvis_fusion_core.image_sheet import caption_row, stack_rows
from irvis_fusion_core.registration.camera_geometry import stretch

_WIDTH_PX = 1200
# Infrared fields are tinted (BGR), to tell them from visible ones.
_TINT = (0.55, 0.85, 1.0)


def checkerboard(
    ir: np.ndarray, vis: np.ndarray, homography: np.ndarray, fields: int = 14
) -> np.ndarray:
    """Return uint8 HxWx3 BGR of the visible size; every other field is the IR image, tinted.

    Lines continue from field to field where the images agree. The visible image stays where there
    is no IR.
    """
    height, width = vis.shape[:2]
    visible = _even(vis)
    moved = cv2.warpPerspective(_even(ir), homography, (width, height))
    known = cv2.warpPerspective(np.ones(ir.shape[:2], np.uint8), homography, (width, height))
    side = max(8, max(height, width) // fields)
    rows, columns = np.mgrid[:height, :width] // side
    shown = ((rows + columns) % 2 == 1) & (known > 0)
    result = np.dstack([visible] * 3)
    tinted = moved[..., None] * np.array(_TINT)
    result[shown] = tinted[shown].astype(np.uint8)
    return result


def before_and_after(ir: np.ndarray, vis: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Return two checkerboards below each other: IR stretched, and calibrated."""
    stretched = stretch(ir.shape[:2], vis.shape[:2])
    maps = {"before: IR stretched": stretched, "after: calibrated": homography}
    boards = ({title: checkerboard(ir, vis, h)} for title, h in maps.items())
    return stack_rows([caption_row(board, min(_WIDTH_PX, vis.shape[1])) for board in boards])


def _even(image: np.ndarray) -> np.ndarray:
    """Return the grey image with local contrast, for dark scenes."""
    return cv2.createCLAHE(2.0, (8, 8)).apply(grey(image).astype(np.uint8))
