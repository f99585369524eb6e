"""A homography from matches with many outliers: RANSAC, then a weighted robust fit.

The fit minimises Mahalanobis distances (a block on a straight edge is located only across it) with
Geman-McClure weights, by Gauss-Newton. A prior limits the two perspective terms, so that a few
matches in one corner cannot bend the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.block_matching import Matches
from irvis_fusion_core.registration.camera_geometry import project

# Relative change of scale from the image's centre to its edge, one standard deviation.
_PERSPECTIVE_SPREAD = 0.03
_ROUNDS = 12


class Fit(NamedTuple):
    """A homography between the points of matches, and its inliers."""

    homography: np.ndarray  # float64 3x3
    inliers: np.ndarray  # bool N


def fit_homography(matches: Matches, size: tuple[int, int], tolerance_px: float) -> Fit | None:
    """Fit `found ~ H at` on a grid of `size` (height, width); None where too few agree."""
    if len(matches.at) < 8:
        return None
    # An affine map agrees by chance less often than a homography.
    options = {"ransacReprojThreshold": 1.5 * tolerance_px, "maxIters": 5000, "confidence": 0.999}
    affine, _ = cv2.estimateAffine2D(matches.at, matches.found, method=cv2.RANSAC, **options)
    if affine is None:
        return None
    height, width = size
    half = max(height, width) / 2.0
    centred = np.diag([1 / half, 1 / half, 1.0])
    centred[:2, 2] = -width / 2 / half, -height / 2 / half
    at, found = project(centred, matches.at), project(centred, matches.found)
    h = centred @ np.vstack([affine, [0, 0, 1]]) @ np.linalg.inv(centred)
    # The weight of each direction of a match, Nx2x2, with `weight` as largest eigenvalue.
    largest = np.linalg.eigvalsh(matches.precision)[:, 1]
    shapes = matches.precision * (matches.weight / np.maximum(largest, 1e-12))[:, None, None]
    for number in range(_ROUNDS):
        # From a wide basin to a narrow one.
        spread = tolerance_px / half * max(0.5, 2.0 - 0.25 * number)
        h = _step(h / h[2, 2], at, found, shapes, spread)
    h = np.linalg.inv(centred) @ h @ centred
    residuals = np.linalg.norm(project(h, matches.at) - matches.found, axis=1)
    inliers = residuals <= tolerance_px
    if inliers.sum() < 8:
        return None
    return Fit(h / h[2, 2], inliers)


def _step(
    h: np.ndarray, at: np.ndarray, found: np.ndarray, shapes: np.ndarray, spread: float
) -> np.ndarray:
    """Return `h` after a Gauss-Newton step of all eight parameters, in centred coordinates."""
    x, y = at[:, 0], at[:, 1]
    scale = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    mapped = project(h, at)
    error = found - mapped
    jacobian = np.zeros((len(at), 2, 8))
    jacobian[:, 0, :3] = jacobian[:, 1, 3:6] = np.stack([x, y, np.ones_like(x)], axis=1)
    jacobian[:, :, 6:] = -mapped[:, :, None] * at[:, None]
    jacobian /= scale[:, None, None]
    distance = np.einsum("ni,nij,nj->n", error, shapes, error) / spread**2
    robust = 1.0 / (1.0 + distance) ** 2
    weighted = shapes * robust[:, None, None] / spread**2
    normal = np.einsum("nia,nij,njb->ab", jacobian, weighted, jacobian)
    right = np.einsum("nia,nij,nj->a", jacobian, weighted, error)
    prior = np.zeros(8)
    prior[6:] = 1.0 / _PERSPECTIVE_SPREAD**2
    present = h.ravel()[:8]
    normal += np.diag(prior) + 1e-9 * np.eye(8) * np.trace(normal)
    change = np.linalg.solve(normal, right - prior * present)
    return np.append(present + change, 1.0).reshape(3, 3)
