"""Count doubled edges: maxima of the gradient next to an edge that both cameras share."""

from __future__ import annotations

import cv2
import numpy as np

Places = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and normals (radians) of edge pixels."""

REACH_PX = 12
LEAST_SHARE = 0.3
# Edges are shared where both cameras have one of like direction within this distance.
SHARED_PX = 2.0


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and direction of a grey image's gradient at about 1 px."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.hypot(gx, gy), np.arctan2(gy, gx)


def edges(image: np.ndarray) -> np.ndarray:
    """Return where Canny finds edges, bool HxW."""
    high = float(np.percentile(gradient(image)[0], 92))
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    return cv2.Canny(smooth, 0.5 * high, max(high, 20.0), L2gradient=True) > 0


def shared_edges(ir: np.ndarray, vis: np.ndarray) -> Places:
    """Return the thin visible edges that IR has too."""
    vis_angle, ir_angle = gradient(vis)[1], gradient(ir)[1]
    ir_edges = edges(ir)
    distance, labels = cv2.distanceTransformWithLabels(
        (~ir_edges).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest_angle = np.zeros(labels.max() + 1)
    nearest_angle[labels[ir_edges]] = ir_angle[ir_edges]
    likeness = np.abs(np.cos(vis_angle - nearest_angle[labels]))
    shared = edges(vis) & (distance <= SHARED_PX) & (likeness > np.cos(np.deg2rad(22.5)))
    border = REACH_PX + 2
    inner = (slice(border, -border),) * 2
    rows, columns = (index + border for index in np.nonzero(shared[inner]))
    return rows, columns, vis_angle[rows, columns]


def maxima_along_normals(image: np.ndarray, places: Places) -> np.ndarray:
    """Return the number of maxima that the gradient has along each place's normal, N."""
    rows, columns, normals = (each[:, None] for each in places)
    along = np.arange(-REACH_PX, REACH_PX + 1)
    profile = cv2.remap(
        gradient(image)[0],
        (columns + along * np.cos(normals)).astype(np.float32),
        (rows + along * np.sin(normals)).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    own = profile[:, REACH_PX - 1 : REACH_PX + 2].max(axis=1, keepdims=True)
    inner = profile[:, 1:-1]
    peak = (inner > profile[:, :-2]) & (inner >= profile[:, 2:]) & (inner >= LEAST_SHARE * own)
    return peak.sum(axis=1)


def extra_edges(fused: np.ndarray, vis: np.ndarray, places: Places) -> float:
    """Return the mean number of edges near a shared one that only the fused image has."""
    if places[0].size == 0:
        return float("nan")
    return float(np.mean(maxima_along_normals(fused, places) - maxima_along_normals(vis, places)))
