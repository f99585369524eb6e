"""Where a crop shows objects of which one camera is to be kept."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from irvis_fusion_core.metrics import luminance
from training.data.boxes import PERSON, VEHICLE

# A thermal object counts from HOT on and where its score exceeds the visible one by EXCESS, fully
# by EXCESS + RISE. One that the visible image shows better, surer than SEEN, keeps a fifth.
HOT, EXCESS, RISE, SEEN = 0.25, 0.1, 0.25, 0.35
LARGEST = 0.3  # share of the crop: a larger thermal vehicle is none
# A vehicle of the visible image: its score is within NEAR of the thermal one, and above FAINT; it
# counts fully from 0.15 above both. An annotated one is lit from LIT on, the mean of its pixels.
NEAR, FAINT, LIT = 0.05, 0.2, 55.0
WARMER = 8.0  # grey levels of an annotated person above its surroundings
BRIGHT_SCENE = 140.0  # mean of the visible crop from which such a person counts half


def object_masks(
    ir: np.ndarray, vis: np.ndarray, found: np.ndarray, annotated: np.ndarray | None = None
) -> np.ndarray:
    """Return float32 2 x H x W, 0..1: objects of the thermal image, vehicles of the visible one.

    The first are objects that the visible image does not show, and annotated persons that are
    warm; the second vehicles that it shows at least as surely, and annotated ones that are lit.

    Args:
        ir: Clean thermal crop, uint8 HxW.
        vis: Clean RGB, uint8 HxWx3.
        found: n x 8 (`training.data.found_objects`).
        annotated: n x 5 (`training.data.boxes`).
    """
    objects, seen, vehicles, warm, lit = np.zeros((5, *ir.shape), np.float32)
    for kind, *box, is_thermal, score, other in found.tolist():
        if is_thermal:
            weight = min(max((score - other - EXCESS) / RISE, 0.0), 1.0) * (score > HOT)
            if kind != VEHICLE or box[2] * box[3] <= LARGEST:
                _draw(objects, box, weight)
            continue
        if score > max(SEEN, other):
            _draw(seen, box, 1.0, (1.5, 4 / 3), 2.0)
        if kind == VEHICLE:
            surer = min(max((score - other + NEAR) / 0.15, 0.0), 1.0)
            clear = min(max((score - FAINT) / 0.15, 0.0), 1.0)
            _draw(vehicles, box, surer * clear, (1.2, 1.2), 1.0)
    vehicles *= 1.0 - objects
    objects *= 1.0 - 0.8 * seen
    y = luminance(vis)
    for kind, *box in [] if annotated is None else annotated.tolist():
        if kind == VEHICLE and _mean(y, box) > LIT:
            _draw(lit, box, 1.0, (1.1, 1.1))
        around = _mean(ir, box, 2.4)
        if kind == PERSON and _mean(ir, box) > around + WARMER:
            _draw(warm, box, 1.0 if y.mean() < BRIGHT_SCENE else 0.5, (1.1, 1.1))
    objects = np.maximum(_means(objects, 9), _means(warm, 5))
    vehicles = np.maximum(_means(vehicles, 9), _means(lit, 5))
    return np.stack([objects, vehicles * (1.0 - objects)])


def _area(
    shape: tuple[int, ...],
    box: Sequence[float],
    scale: tuple[float, float] = (1.0, 1.0),
    margin: float = 0.0,
) -> tuple[slice, slice]:
    """Return the pixels of a box (shares of the crop), scaled in x and y and `margin` wider."""
    (height, width), (x, y, w, h) = shape, box
    spans = []
    for centre, side, length, by in ((y, h, height, scale[1]), (x, w, width, scale[0])):
        half = side * length * by / 2 + margin
        ends = (round(min(max(centre * length + s, 0.0), length)) for s in (-half, half))
        spans.append(slice(*ends))
    return spans[0], spans[1]


def _draw(
    mask: np.ndarray,
    box: Sequence[float],
    weight: float,
    scale: tuple[float, float] = (1.0, 1.0),
    margin: float = 0.0,
) -> None:
    area = mask[_area(mask.shape, box, scale, margin)]
    np.maximum(area, weight, out=area)


def _mean(image: np.ndarray, box: Sequence[float], scale: float = 1.0) -> float:
    """Return the mean in a box; -inf outside the image."""
    area = image[_area(image.shape, box, (scale, scale))]
    return float(area.mean()) if area.size else -np.inf


def _means(mask: np.ndarray, size: int) -> np.ndarray:
    """Return `training.losses.filters.smooth` of a mask."""
    total, count = (
        cv2.blur(x, (size, size), borderType=cv2.BORDER_CONSTANT)
        for x in (mask, np.ones_like(mask))
    )
    return total / count
