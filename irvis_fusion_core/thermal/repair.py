"""Repairs of raw thermal frames before they are rescaled: dead pixels and column noise.

Both take float32 HxW in raw units.
"""

from __future__ import annotations

import cv2
import numpy as np

# A dead pixel differs from the median of its neighbourhood by more than this number of robust
# deviations (1.4826 times the median absolute difference estimates sigma for Gaussian noise) ...
_DEAD_PIXEL_DEVIATIONS = 12.0
# ... and by this factor more than any of its neighbours.
_DEAD_PIXEL_DOMINANCE = 3.0
# Columns are compared with the mean of this many neighbours: wider structures belong to the scene.
_COLUMN_NEIGHBOURS = 15
# Column offsets beyond this number of robust deviations are edges of the scene.
_COLUMN_DEVIATIONS = 4.0


def repair_dead_pixels(frame: np.ndarray) -> np.ndarray:
    """Replace single pixels far from all of their neighbours by the median of their 3x3 window."""
    median = cv2.medianBlur(frame, 3)
    difference = cv2.absdiff(frame, median)
    spread = 1.4826 * float(np.median(difference[::4, ::4]))
    limit = max(_DEAD_PIXEL_DEVIATIONS * spread, 1e-6)
    # Few pixels are far from their median; only these are inspected, by their flat index.
    far = np.flatnonzero(difference > limit)
    if not far.size:
        return frame
    # Corners and thin lines differ from their median too, but never alone as a dead pixel does.
    padded = cv2.copyMakeBorder(difference, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=-1.0)
    width, values = padded.shape[1], padded.ravel()
    places = far + 2 * (far // frame.shape[1]) + width + 1
    around = values[places - 1]
    for step in (1, -width - 1, -width, -width + 1, width - 1, width, width + 1):
        np.maximum(around, values[places + step], out=around)
    alone = far[values[places] > _DEAD_PIXEL_DOMINANCE * around]
    repaired = frame.copy()
    repaired.ravel()[alone] = median.ravel()[alone]
    return repaired


def column_offsets(frame: np.ndarray) -> np.ndarray:
    """Return the fixed offsets between columns (uncooled read-out noise), float32 [width].

    The offset is the median over every eighth row of the difference between a column and its
    smoothed neighbours; the scene hardly affects it.
    """
    sample = frame[::8]
    smooth = cv2.blur(sample, (_COLUMN_NEIGHBOURS, 1), borderType=cv2.BORDER_REFLECT_101)
    # Medians along the rows of the transpose take a third of the time.
    offsets = np.median(cv2.transpose(cv2.subtract(sample, smooth)), axis=1).astype(np.float32)
    deviation = 1.4826 * float(np.median(np.abs(offsets)))
    limit = _COLUMN_DEVIATIONS * deviation
    return np.clip(offsets, -limit, limit)
