"""Shows a field of displacements on the visible image."""

from __future__ import annotations

import cv2
import numpy as np

_ARROWS = 20  # along the longer side
_LEAST_PX = 0.5  # shorter displacements are shown as none


def field_image(vis: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Return uint8 HxWx3: the image, darker, with arrows from visible to thermal places.

    Args:
        vis: uint8 HxWx3.
        field: float32 2 x rows x columns: displacements x, y in pixels of the image.
    """
    drawn = cv2.convertScaleAbs(vis, alpha=0.6)
    height, width = vis.shape[:2]
    step = max(max(height, width) / _ARROWS, 1.0)
    x, y = np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
    to_cell = (field.shape[2] / width, field.shape[1] / height)
    at = [(axis * scale).astype(int) for axis, scale in zip((x, y), to_cell)]
    moved = field[:, at[1], at[0]].reshape(2, -1).T
    for start, move in zip(np.stack([x.ravel(), y.ravel()], 1), moved):
        ends = [tuple(int(round(v)) for v in point) for point in (start, start + move)]
        if float(np.hypot(*move)) < _LEAST_PX:
            cv2.circle(drawn, ends[0], 1, (160, 160, 160), -1)
        else:
            cv2.arrowedLine(drawn, *ends, (255, 210, 40), 1, cv2.LINE_AA, tipLength=0.3)
    return drawn
