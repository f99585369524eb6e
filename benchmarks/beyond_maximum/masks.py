"""Where the pixel-wise maximum of IR and visible luminance goes wrong: regions of a pair.

`ir` and `luma` are uint8 HxW of one size, masks bool HxW. Lengths are pixels, gradients grey
levels a pixel at the scale of 1 px. The thresholds are choices, not measured constants: they name
what a person would point at, and `beyond_maximum --images` shows what they select.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

# Glare: from this level on a visible camera is blind; least strength of an IR edge in it.
SATURATED = 235
GLARE_RIM_PX = 4  # the lamp's own outline lies here, where both images have an edge
IR_EDGE = 5.0
SPECK_PX = 30  # edges smaller than this may be noise
LAMP_AREA = 0.08  # of the image; larger areas are sky, or a wall in the sun
# Hot background: smooth and brighter in IR, textured in the visible image.
HOT_MARGIN = 10.0
HOT_IR_STD = 6.0
HOT_HIDDEN = 0.9  # share of the window in which IR is brighter: bright letters may stand out
HOT_VIS_STD = 10.0
WINDOW_PX = 11
# Flat and dark: without structure at the scale of 2 px, where sensor noise is averaged out.
DARK = 60.0
FLAT = 1.0
CLIPPED = 4.0  # this near to black or white, noise is cut off and would measure too small
# Warm objects against the mean of their surroundings.
WARM_MARGIN = 25.0
WARM_AROUND = 0.2  # side of the window for that mean, of the image's height
WARM_AREA = (60, 0.05)  # smallest in pixels, largest as a share of the image


class WarmObject(NamedTuple):
    """Something warm in the IR image, and the ring of cooler pixels around it."""

    inside: np.ndarray  # bool HxW
    ring: np.ndarray  # bool HxW


def gradient(plane: np.ndarray, sigma_px: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return derivatives along x and y (Gaussian, then Sobel), float32 HxW."""
    smooth = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), sigma_px)
    dx, dy = (cv2.Sobel(smooth, -1, *order, ksize=3, scale=0.125) for order in ((1, 0), (0, 1)))
    return dx, dy


def local_moments(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation in a window around each pixel, float32 HxW."""
    plane, window = plane.astype(np.float32), (WINDOW_PX, WINDOW_PX)
    mean = cv2.blur(plane, window)
    return mean, np.sqrt(np.maximum(cv2.blur(plane * plane, window) - mean * mean, 0.0))


def saturated_areas(luma: np.ndarray) -> np.ndarray:
    """Return blown-out areas of the visible image, at least 5 px wide everywhere."""
    white = (luma >= SATURATED).astype(np.uint8)
    return cv2.morphologyEx(white, cv2.MORPH_OPEN, _square(5)) > 0


def lamp_areas(luma: np.ndarray) -> np.ndarray:
    """Return blown-out areas that are small and do not reach the upper border, as sky does."""
    white = saturated_areas(luma)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(white.astype(np.uint8))
    lamp = (facts[:, cv2.CC_STAT_AREA] <= LAMP_AREA * luma.size) & (facts[:, cv2.CC_STAT_TOP] > 0)
    return lamp[labels] & white


def glare_mask(ir: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """Return IR edges inside blown-out areas, away from the outline of these, specks left out."""
    inside = cv2.erode(saturated_areas(luma).astype(np.uint8), _square(2 * GLARE_RIM_PX + 1)) > 0
    edges = inside & (np.hypot(*gradient(ir)) >= IR_EDGE)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    return edges & (facts[:, cv2.CC_STAT_AREA] >= SPECK_PX)[labels]


def hot_background_mask(ir: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """Return visible texture and lettering before smooth IR that is nearly all brighter."""
    ir_mean, ir_std = local_moments(ir)
    vis_mean, vis_std = local_moments(luma)
    hidden = cv2.blur((ir > luma).astype(np.float32), (WINDOW_PX, WINDOW_PX)) >= HOT_HIDDEN
    textured = (ir_std < HOT_IR_STD) & (vis_std > HOT_VIS_STD)
    return hidden & textured & (ir_mean > vis_mean + HOT_MARGIN)


def flat_dark_mask(ir: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """Return where the visible image is dark and neither has structure, so that noise varies."""
    mask = cv2.blur(luma.astype(np.float32), (WINDOW_PX, WINDOW_PX)) < DARK
    for plane in (ir, luma):
        smooth = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 2.0)
        mask &= cv2.dilate(np.hypot(*gradient(plane, 2.0)), _square(5)) < FLAT
        mask &= (smooth > CLIPPED) & (smooth < 255 - CLIPPED)
    return mask


def warm_objects(ir: np.ndarray) -> list[WarmObject]:
    """Return warm objects of middling size, strongest first (contrast times root of the area)."""
    height, width = ir.shape
    side = int(WARM_AROUND * height) | 1
    plane = ir.astype(np.float32)
    warm = (plane > cv2.blur(plane, (side, side)) + WARM_MARGIN).astype(np.uint8)
    warm = cv2.morphologyEx(warm, cv2.MORPH_OPEN, _square(3))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(warm)
    ranked = []
    for label in range(1, count):
        area = facts[label, cv2.CC_STAT_AREA]
        if not WARM_AREA[0] <= area <= WARM_AREA[1] * height * width:
            continue
        inside = labels == label
        around = cv2.dilate(inside.astype(np.uint8), _square(17))
        ring = (around > cv2.dilate(inside.astype(np.uint8), _square(5))) & (warm == 0)
        if ring.any():
            contrast = float(plane[inside].mean() - plane[ring].mean())
            ranked.append((contrast * np.sqrt(area), WarmObject(inside, ring)))
    return [thing for _, thing in sorted(ranked, key=lambda each: -each[0])]


def _square(side: int) -> np.ndarray:
    return np.ones((side, side), np.uint8)
