"""An image to judge an alignment by: fields of both cameras take turns, before and after."""

from __future__ import annotations

import cv2
import numpy as np

_FIELDS = 14
_WIDTH_PX = 1200
# Infrared fields are tinted (BGR), so that it is clear which camera a field is of.
_TINT = (0.55, 0.85, 1.0)


def checkerboard(
    ir: np.ndarray, vis: np.ndarray, homography: np.ndarray, fields: int = _FIELDS
) -> np.ndarray:
    """uint8 HxWx3 of the visible size: every other field is the IR image, tinted.

    Lines that run on from field to field are where the two images agree. Where IR is not known
    the visible image stays.
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
    """Two checkerboards below each other: IR stretched to the visible size, and as estimated."""
    (ir_height, ir_width), (height, width) = ir.shape[:2], vis.shape[:2]
    across, down = width / ir_width, height / ir_height
    stretched = np.array(
        [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]], np.float64
    )
    panels = []
    for matrix, title in ((stretched, "before: IR stretched"), (homography, "after: calibrated")):
        panel = checkerboard(ir, vis, matrix)
        shrink = min(1.0, _WIDTH_PX / width)
        size = (round(width * shrink), round(height * shrink))
        panel = cv2.resize(panel, size, interpolation=cv2.INTER_AREA)
        for colour, thick in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(panel, title, (10, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, thick)
        panels.append(panel)
    return np.vstack(panels)


def _even(image: np.ndarray) -> np.ndarray:
    """Grey with local contrast, so that dark scenes can be judged."""
    if image.ndim == 3:
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)
    return cv2.createCLAHE(2.0, (8, 8)).apply(image)
