"""Homographies of an unregistered pair, IR to visible pixels, and how far two of them differ."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.image_files import FilePair, read_thermal
from irvis_fusion_core.registration.camera_geometry import project

Size = tuple[int, int]
"""(height, width)."""


def stretched(ir_size: Size, vis_size: Size) -> np.ndarray:
    """Return the homography of resizing."""
    down, across = vis_size[0] / ir_size[0], vis_size[1] / ir_size[1]
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])


def moved(homography: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Return the homography followed by a shift."""
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]) @ homography


def same_camera_homography(raw: np.ndarray, registered: np.ndarray) -> np.ndarray | None:
    """Return raw to registered pixels of one camera's image (SIFT, RANSAC); None where too few."""
    sift = cv2.SIFT_create(6000, contrastThreshold=0.01)
    raw_points, raw_words = sift.detectAndCompute(raw, None)
    new_points, new_words = sift.detectAndCompute(registered, None)
    matches = cv2.BFMatcher().knnMatch(new_words, raw_words, k=2)
    good = [a for a, b in matches if a.distance < 0.8 * b.distance]
    if len(good) < 50:
        return None
    start = np.array([raw_points[m.trainIdx].pt for m in good])
    end = np.array([new_points[m.queryIdx].pt for m in good])
    homography, inliers = cv2.findHomography(start, end, cv2.RANSAC, 2.0, maxIters=10000)
    return homography if homography is not None and inliers.sum() >= 50 else None


def makers_homography(
    ir: np.ndarray, vis: np.ndarray, registered: FilePair | None
) -> np.ndarray | None:
    """Return IR to visible pixels as the makers of the set registered them, or None."""
    if registered is None:
        return None
    from_ir = same_camera_homography(ir, read_thermal(registered.ir))
    grey = cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY)
    from_vis = same_camera_homography(grey, cv2.imread(registered.vis, cv2.IMREAD_GRAYSCALE))
    if from_ir is None or from_vis is None:
        return None
    return np.linalg.inv(from_vis) @ from_ir


def displacement(a: np.ndarray, b: np.ndarray, ir_size: Size, vis_size: Size) -> float:
    """Return the median distance of two maps over both images' common part, visible pixels."""
    rows, columns = np.mgrid[0 : ir_size[0] : 16, 0 : ir_size[1] : 16]
    points = np.stack([columns.ravel(), rows.ravel()], 1).astype(float)
    first, second = project(a, points), project(b, points)
    inside = ((first >= 0) & (first < np.array(vis_size[::-1]))).all(axis=1)
    return float(np.median(np.linalg.norm(first - second, axis=1)[inside]))
