"""Homographies, IR to visible pixels: of one camera's images, and random ones found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.image_files import pairs_in, read_thermal, read_visible
from irvis_fusion_core.registration.camera_geometry import corners, project, scale_of, stretch

# Least correlation of an image with its registered version: those of RoadScene have 0.988.
_LEAST_LIKENESS = 0.95

Size = tuple[int, int]
"""(height, width)."""
Images = Sequence[tuple[np.ndarray, np.ndarray]]
"""IR and visible images."""
Estimator = Callable[[Images], np.ndarray]


def same_camera_homography(raw: np.ndarray, registered: np.ndarray) -> np.ndarray | None:
    """Return raw to registered pixels of one camera's image (SIFT, then `by_grey_levels`).

    None where too few points agree.
    """
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
    if homography is None or inliers.sum() < 50:
        return None
    return by_grey_levels(raw, registered, homography)


def by_grey_levels(
    raw: np.ndarray, registered: np.ndarray, homography: np.ndarray
) -> np.ndarray | None:
    """Refine raw to registered pixels of one camera's image (ECC, Evangelidis and Psarakis 2008).

    OpenCV's SIFT places its points a quarter of a pixel off, in the large image as in the small
    one; points also leave parts of the image out. None where the images do not correlate.
    """
    shrink = 1.0 / scale_of(homography)
    smooth = raw.astype(np.float32)
    if shrink > 1.0:
        smooth = cv2.GaussianBlur(smooth, (0, 0), 0.5 * float(np.sqrt(shrink**2 - 1.0)) + 1e-3)
    back = np.linalg.inv(homography)
    start = (back / back[2, 2]).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-7)
    kind = cv2.MOTION_HOMOGRAPHY
    try:
        likeness, back = cv2.findTransformECC(
            registered.astype(np.float32), smooth, start, kind, stop, None, 3
        )
    except cv2.error:  # "images may be uncorrelated"
        return None
    return np.linalg.inv(back.astype(np.float64)) if likeness > _LEAST_LIKENESS else None


def distances(
    found: np.ndarray, truth: np.ndarray, ir_size: Size, vis_size: Size, step: int
) -> np.ndarray:
    """Return the distances of two maps over both images' common part, visible pixels.

    They are taken at every IR pixel of a grid of `step` that the visible camera sees too.
    """
    rows, columns = np.mgrid[0 : ir_size[0] : step, 0 : ir_size[1] : step]
    points = np.stack([columns.ravel(), rows.ravel()], 1).astype(float)
    end = project(truth, points)
    inside = ((end >= 0) & (end < np.array(vis_size[::-1]))).all(axis=1)
    return np.linalg.norm(project(found, points) - end, axis=1)[inside]


def random_homography(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return 8 % shift of all corners, 3 % of each (of the diagonal), 10 % in size, 3 degrees."""
    start, diagonal = corners(size), np.hypot(*size)
    centre = start.mean(axis=0)
    turn, scale = np.deg2rad(rng.uniform(-3, 3)), rng.uniform(0.9, 1.1)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    end = (start - centre) @ matrix.T + centre + rng.uniform(-0.08, 0.08, 2) * diagonal
    end += rng.uniform(-0.03, 0.03, (4, 2)) * diagonal
    return cv2.getPerspectiveTransform(start.astype(np.float32), end.astype(np.float32))


def seen_through(truth: np.ndarray, ir: np.ndarray, size: Size, flags: int) -> np.ndarray:
    """Return the IR image of `size` that `truth` registers; borders are repeated outwards."""
    inverse, border = np.linalg.inv(truth), cv2.BORDER_REPLICATE
    return cv2.warpPerspective(ir, inverse, size[::-1], flags=flags, borderMode=border)


def boardless(images: Images) -> np.ndarray:
    """Return what `irvis_fusion calibrate` finds."""
    return estimate_homography(images).homography


def estimated(images: Images, estimate: Estimator = boardless) -> np.ndarray | None:
    """Return the homography of IR and visible images; None where the estimate is refused."""
    try:
        return estimate(images)
    except CalibrationError:
        return None


def synthetic(folder: Path, count: int) -> Iterator[tuple[str, float, float]]:
    """Yield stem, corner error, median error (px) of pairs with IR moved; inf where refused."""
    files = pairs_in(str(folder))
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(files) - 1, count).astype(int):
        ir, vis = read_thermal(files[index].ir), read_visible(files[index].vis)
        truth = random_homography(rng, ir.shape)
        found = estimated([(seen_through(truth, ir, ir.shape, cv2.INTER_LINEAR), vis)])
        corner_px = inner_px = np.inf
        if found is not None:
            away = project(found, corners(ir.shape)) - project(truth, corners(ir.shape))
            corner_px = float(np.linalg.norm(away, axis=1).mean())
            inner_px = float(np.median(distances(found, truth, ir.shape, ir.shape, 16)))
        yield files[index].stem, corner_px, inner_px


def rig(folder: Path, tries: int) -> dict[int, list[float]]:
    """Return number of pairs -> median errors of one rig's, visible px; inf where refused."""
    files, ir_size, counts = pairs_in(str(folder)), (512, 640), (1, 4, 12)
    vis_size = read_visible(files[0].vis).shape[:2]
    rng = np.random.default_rng(1)
    errors: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(tries):
        truth = random_homography(rng, vis_size) @ stretch(ir_size, vis_size)
        pairs = []
        for index in rng.permutation(len(files))[: max(counts)]:
            ir = cv2.resize(read_thermal(files[index].ir), vis_size[::-1])
            seen = seen_through(truth, ir, ir_size, cv2.INTER_AREA)
            pairs.append((seen, read_visible(files[index].vis)))
        for count in counts:
            found = estimated(pairs[:count])
            if found is None:
                errors[count].append(np.inf)
            else:
                away = distances(found, truth, ir_size, vis_size, 16)
                errors[count].append(float(np.median(away)))
    return errors
