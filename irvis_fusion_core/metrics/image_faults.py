"""Faults of fused images that people see and Qabf does not: noise, blocks, ripples, lost colour.

Planes are uint8 HxW of one size, `ir` as the network sees it (rescaled); colour images are uint8
RGB HxWx3. Each function gives NaN where an image has too little of what it looks at.
"""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.metrics.video_metrics import derivatives

LEAST_PX = 1000
"""Smallest area that is measured, pixels."""
BLOCK_PX = 4
"""The networks decide for each block of this size."""
_FLAT = 1.0  # grey levels a pixel, gradient at a scale of 2 px: no structure, only noise
_IR_FLAT = 2.0  # as above; rescaled thermal images have more noise
_CLIPPED = 4  # this near to black or white noise is cut off
_STRONG, _SMOOTH = 25.0, 4.0  # edges and smooth places, gradient at a scale of 1 px
_SKY_LEVEL = 90.0  # a daylight sky is brighter
_HOT_MARGIN = 40  # levels by which thermal is brighter
_EXPOSED = (50, 220)  # visible luminance with reliable colour
_LEAST_CHROMA = 12.0  # grey things have no saturation to keep


def gradient(plane: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return the gradient's strength at a scale, grey levels a pixel, float32 HxW."""
    return cv2.magnitude(*derivatives(plane.astype(np.float32), sigma_px))


def flat_surfaces(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return where neither image has structure and the visible one is not clipped, bool HxW."""
    near = np.ones((5, 5), np.uint8)
    flat = (vis > _CLIPPED) & (vis < 255 - _CLIPPED)
    for plane, most in ((vis, _FLAT), (ir, _IR_FLAT)):
        flat &= cv2.dilate(gradient(plane, 2.0), near) < most
    return flat


def noise(fused: np.ndarray, where: np.ndarray) -> float:
    """Return the deviation of the image from its blur (sigma 2 px) inside a mask, grey levels."""
    plane = fused.astype(np.float32)
    return _spread(plane - cv2.GaussianBlur(plane, (0, 0), 2.0), where)


def sky(vis: np.ndarray) -> np.ndarray:
    """Return the bright, smooth area of a daylight image that reaches its upper border."""
    smooth = (gradient(vis, 2.0) < _FLAT) & (cv2.GaussianBlur(vis, (0, 0), 2.0) > _SKY_LEVEL)
    smooth[len(vis) * 2 // 3 :] = False
    opened = cv2.morphologyEx(smooth.astype(np.uint8), cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    _, labels = cv2.connectedComponents(opened)
    at_top = np.setdiff1d(labels[:8], [0])
    return cv2.erode(np.isin(labels, at_top).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0


def ripple(fused: np.ndarray, where: np.ndarray) -> float:
    """Return the deviation between scales of 3 and 20 px inside a mask (the sky), grey levels.

    What lies outside of the mask has no influence.
    """
    weight = where.astype(np.float32)
    plane = fused * weight
    fine, coarse = (
        cv2.GaussianBlur(plane, (0, 0), sigma)
        / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-6)
        for sigma in (3.0, 20.0)
    )
    return _spread(fine - coarse, where)


def block_border_ratio(fused: np.ndarray, where: np.ndarray | None = None) -> float:
    """Return the mean step across block borders over the mean step near them; 1 is clean.

    Sources often carry JPEG's blocks of 8. So the borders at odd multiples of 4 alone count, and
    the steps 1 and 2 pixels to their sides; a clean fusion of such sources has 1 as well. `where`
    (bool HxW) is everywhere by default.
    """
    plane = fused.astype(np.float32)
    sums, counts = np.zeros(2), np.zeros(2)
    for axis in (0, 1):
        step = np.moveaxis(np.abs(np.diff(plane, axis=axis)), axis, 1)
        weight = np.ones_like(step)
        if where is not None:
            weight = np.moveaxis(where, axis, 1)[:, 1:].astype(np.float32)
        place = np.arange(1, plane.shape[axis]) % (2 * BLOCK_PX)
        for side, offsets in enumerate(((4,), (2, 3, 5, 6))):
            here = np.isin(place, offsets)
            sums[side] += (step[:, here] * weight[:, here]).sum(dtype=np.float64)
            counts[side] += weight[:, here].sum(dtype=np.float64)
    if counts.min() < LEAST_PX or not sums[1]:
        return float("nan")
    return float(sums[0] / counts[0] * counts[1] / sums[1])


def beside_edges(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return the smooth surroundings of lamps' and hot things' edges, where blocks show."""
    edges = np.maximum(gradient(ir, 1.0), gradient(vis, 1.0))
    near = cv2.dilate((edges > _STRONG).astype(np.uint8), np.ones((21, 21), np.uint8)) > 0
    return near & (edges < _SMOOTH)


def saturation_kept(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Return saturation (chroma over luma) over the visible's at hot, coloured, well-lit things.

    `fused` and `vis` are RGB.
    """
    (chroma, luma), (vis_chroma, vis_luma) = _colour(fused), _colour(vis)
    hot = (ir.astype(np.float32) - vis_luma) > _HOT_MARGIN
    hot &= (vis_luma > _EXPOSED[0]) & (vis_luma < _EXPOSED[1]) & (vis_chroma >= _LEAST_CHROMA)
    if hot.sum() < LEAST_PX // 5:
        return float("nan")
    kept = (chroma[hot] / np.maximum(luma[hot], 1.0)).sum()
    return float(kept / (vis_chroma[hot] / vis_luma[hot]).sum())


def warped_to(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return an earlier frame moved to the place of a later one, by flow later to earlier."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    place = (columns + flow[..., 0], rows + flow[..., 1])
    return cv2.remap(frame, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def backward_flow(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return DIS optical flow float32 HxWx2 from a luminance image to the one before."""
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return estimator.calc(now, before, None)


def _spread(plane: np.ndarray, where: np.ndarray) -> float:
    return float(plane[where].std()) if where.sum() >= LEAST_PX else float("nan")


def _colour(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the strength of the chroma and the luminance, float32 HxW."""
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    return cv2.magnitude(planes[..., 1] - 128.0, planes[..., 2] - 128.0), planes[..., 0]
