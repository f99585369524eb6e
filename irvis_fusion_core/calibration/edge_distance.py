"""Measures the distance of infrared edges from visible ones, independent of the estimate.

Distances lead from Canny's edges to the nearest visible edge of similar direction (within 22.5
degrees, contrast may be reversed). They mix edges with a counterpart and edges without, which are
distributed as by chance: as with the IR image shifted, in 24 ways. The share that finds nothing
within reach tells their number; `median_px` and `p90_px` describe the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.oriented_gradients import grey
from irvis_fusion_core.registration.camera_geometry import project, scale_of

_BINS = 8
# Shifts that sample chance, as shares of the visible diagonal.
_ASIDE = (0.03, 0.045, 0.06)
# Least share of edges beyond chance for a result.
_LEAST_COUNTERPARTS = 0.08


class EdgeDistance(NamedTuple):
    """Distances in visible pixels; shares 0..1. Infinite where no edge finds a counterpart."""

    median_px: float  # of edges with a counterpart, without chance
    p90_px: float
    counterparts: float  # share of IR edges with a counterpart, beyond chance
    raw_median_px: float  # of all edges with another within reach
    chance_median_px: float  # the same with the image shifted
    edges: int


def edge_distance(
    ir: np.ndarray, vis: np.ndarray, homography: np.ndarray, reach_px: float = 12.0
) -> EdgeDistance:
    """Measure an alignment of full-size uint8 images; `homography` maps IR to visible pixels."""
    homography = np.asarray(homography, np.float64)
    ir_edges, ir_angles = edges(ir, 1.0)
    distances = _distance_by_direction(*edges(vis, max(1.0, 0.7 * scale_of(homography))))
    rows, columns = np.nonzero(ir_edges)
    start = np.stack([columns, rows], 1).astype(np.float64)
    angle = ir_angles[rows, columns]
    # The gradient is normal to the edge; a homography maps tangents, not normals.
    ahead = start + np.stack([-np.sin(angle), np.cos(angle)], 1)
    point = project(homography, start)
    tangent = project(homography, ahead) - point
    normal = np.arctan2(tangent[:, 0], -tangent[:, 1])
    found = _look_up(distances, point, normal)
    diagonal = float(np.hypot(*vis.shape[:2]))
    moves = [
        share * diagonal * np.array([np.cos(turn), np.sin(turn)])
        for share in _ASIDE
        for turn in np.arange(8) * np.pi / 4
    ]
    chance = np.concatenate([_look_up(distances, point + move, normal) for move in moves])
    return _separated(found, chance, reach_px)


def _separated(found: np.ndarray, chance: np.ndarray, reach_px: float) -> EdgeDistance:
    """Separate the mixture `found` by the distribution of `chance`."""
    if found.size == 0 or chance.size == 0:
        return EdgeDistance(np.inf, np.inf, 0.0, np.inf, np.inf, int(found.size))
    near = (d[d <= reach_px] for d in (found, chance))
    raw, by_chance = (float(np.median(d)) if d.size else np.inf for d in near)
    beyond = float((chance > reach_px).mean())
    without = min(1.0, float((found > reach_px).mean()) / max(beyond, 1e-9))
    median = p90 = np.inf
    if without < 1.0 - _LEAST_COUNTERPARTS:
        at = np.arange(0.0, reach_px + 0.2, 0.2)
        cumulative = np.searchsorted(np.sort(found), at, side="right") / found.size
        cumulative -= without * np.searchsorted(np.sort(chance), at, side="right") / chance.size
        cumulative /= 1.0 - without
        median = float(at[np.argmax(cumulative >= 0.5)])
        p90 = float(at[np.argmax(cumulative >= 0.9)])
    return EdgeDistance(median, p90, 1.0 - without, raw, by_chance, int(found.size))


def edges(image: np.ndarray, blur_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return thin edges (bool HxW) of the strongest gradients, and gradient angles, radians."""
    smooth = cv2.GaussianBlur(grey(image), (0, 0), blur_px)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) * 4
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1) * 4
    strong = max(8.0, float(np.percentile(np.hypot(gx, gy), 92)))
    across, down = (np.clip(g, -32767, 32767).astype(np.int16) for g in (gx, gy))
    thin = cv2.Canny(across, down, 0.4 * strong, strong, L2gradient=True)
    return thin > 0, np.arctan2(gy, gx)


def _distance_by_direction(thin: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return float32 BINSxHxW: distance to the nearest edge of each direction."""
    bins = _bins(angles)
    layers = []
    for number in range(_BINS):
        near = np.isin((bins - number) % _BINS, (0, 1, _BINS - 1))
        others = (~(thin & near)).astype(np.uint8)
        layers.append(cv2.distanceTransform(others, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    return np.array(layers)


def _bins(angles: np.ndarray) -> np.ndarray:
    return np.round((angles % np.pi) / np.pi * _BINS).astype(int) % _BINS


def _look_up(distances: np.ndarray, points: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the distances at points (x, y) inside the image."""
    _, height, width = distances.shape
    columns, rows = np.round(points[:, 0]).astype(int), np.round(points[:, 1]).astype(int)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return distances[_bins(angles[inside]), rows[inside], columns[inside]]
