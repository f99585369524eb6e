"""Matches blocks of the warped IR image in the visible one.

Blocks are compared by four channels of blurred oriented gradients, after CFOG (Ye et al., "Fast
and robust matching for multimodal remote sensing image registration", TGRS 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.oriented_gradients import double_angle_field


class Matches(NamedTuple):
    """Points that correspond, one row each, in pixels of the working grid."""

    at: np.ndarray  # float64 Nx2: centre of the block under the present alignment
    found: np.ndarray  # float64 Nx2: its place in the visible image
    weight: np.ndarray  # float64 N: similarity of the two blocks, 0..1
    precision: np.ndarray  # float64 Nx2x2: sharpness of the place in each direction


def channels(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return float32 HxWx4: double and quadruple angle of the edges, blurred."""
    field = double_angle_field(image, 1.0, mask)
    strength = np.maximum(np.abs(field), 1e-6)
    quadruple = field * field / strength
    stacked = np.dstack([field.real, field.imag, quadruple.real, quadruple.imag])
    return cv2.GaussianBlur(stacked.astype(np.float32), (0, 0), 1.5)


def match_blocks(
    ir: np.ndarray, vis: np.ndarray, known: np.ndarray, block_px: int, reach_px: int, step_px: int
) -> tuple[Matches, int]:
    """Find blocks of `ir` within `reach_px` in `vis`, both `channels` on the visible grid.

    `known` (bool HxW) is where IR is valid.

    Returns:
        The matches, and the number of blocks that were searched. Blocks without a sharp best
        place have no match.
    """
    height, width = vis.shape[:2]
    half = block_px // 2
    energy = (ir * ir).sum(axis=2)
    typical = float(energy[known].mean()) if known.any() else 0.0
    rows, looked = [], 0
    # Blocks at the border are searched beyond it too, where nothing matches.
    padded = cv2.copyMakeBorder(vis, *[reach_px] * 4, cv2.BORDER_CONSTANT, value=[0.0] * 4)
    searched_px = block_px + 2 * reach_px
    for y in range(half, height - half, step_px):
        for x in range(half, width - half, step_px):
            top, left = y - half, x - half
            block = np.s_[top : top + block_px, left : left + block_px]
            if not known[block].all() or energy[block].mean() < 0.3 * typical:
                continue
            looked += 1
            area = padded[top : top + searched_px, left : left + searched_px]
            peak = _peak(cv2.matchTemplate(area, ir[block], cv2.TM_CCORR_NORMED))
            if peak is not None:
                dx, dy, value, curvature = peak
                rows.append(((x, y), (x + dx - reach_px, y + dy - reach_px), value, curvature))
    columns = zip(*rows) if rows else ((), (), (), ())
    shapes = ((-1, 2), (-1, 2), (-1,), (-1, 2, 2))
    at, found, weight, precision = (
        np.array(column, np.float64).reshape(shape) for column, shape in zip(columns, shapes)
    )
    centre = (block_px - 1) / 2.0 - half  # the block's own centre, off (x, y) by half a pixel
    return Matches(at + centre, found + centre, weight, precision), looked


def _peak(surface: np.ndarray) -> tuple[float, float, float, np.ndarray] | None:
    """Return column, row, height and curvature of an inner maximum, to a fraction of a pixel."""
    if not np.isfinite(surface).all():
        return None
    _, value, _, (column, row) = cv2.minMaxLoc(surface)
    height, width = surface.shape
    if not (0 < row < height - 1 and 0 < column < width - 1) or value < 0.15:
        return None
    near = surface[row - 1 : row + 2, column - 1 : column + 2].astype(np.float64)
    gx, gy = (near[1, 2] - near[1, 0]) / 2, (near[2, 1] - near[0, 1]) / 2
    xx = near[1, 2] - 2 * near[1, 1] + near[1, 0]
    yy = near[2, 1] - 2 * near[1, 1] + near[0, 1]
    xy = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4
    curvature = -np.array([[xx, xy], [xy, yy]])
    if xx >= 0 or yy >= 0 or np.linalg.det(curvature) <= 0:
        return None
    step = np.clip(np.linalg.solve(curvature, [gx, gy]), -1, 1)
    return column + step[0], row + step[1], value, curvature
