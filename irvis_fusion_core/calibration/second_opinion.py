"""A second opinion on a homography: what the learned registration would still displace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.fine_alignment import Pair
from irvis_fusion_core.registration.learned.field_network import FieldNetwork
from irvis_fusion_core.registration.modes import HomographyRegistration

TRUSTED = 0.4
"""Confidence from which a cell counts."""
_LEAST_CELLS = 40
_COVERED = 250


class Opinion(NamedTuple):
    """What the network finds on top of a homography.

    Attributes:
        median_px: Displacement left, visible pixels, of the cells it is confident of; 0 of none.
        p95_px: The 95th percentile.
        confident: Share of the cells with thermal data that it is confident of.
        homography: 3x3, fitted to what it finds; None where that is too little.
    """

    median_px: float
    p95_px: float
    confident: float
    homography: np.ndarray | None


def second_opinion(
    pairs: Sequence[Pair], homography: np.ndarray, network: FieldNetwork
) -> Opinion:
    """Return the network's opinion on a homography (IR to visible pixels) of one rig's pairs.

    Args:
        pairs: IR uint8 HxW, visible uint8 HxW or HxWx3 (BGR), of one size each.

    Raises:
        FusionError: The homography or the images cannot be used, or the engine failed.
    """
    registration = HomographyRegistration(homography.tolist(), soft_edge_px=0.0)
    vis_points, moved, cells = [], [], 0
    for ir, vis in pairs:
        warped, coverage = registration.warp(ir, vis.shape[:2])
        luma = cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY) if vis.ndim == 3 else vis
        field = network.field(warped, luma)
        known = np.ones(field.shape[1:], bool)
        if coverage is not None:
            small = cv2.resize(coverage, field.shape[:0:-1], interpolation=cv2.INTER_AREA)
            known = small >= _COVERED
        cells += int(known.sum())
        sure = known & (field[2] >= TRUSTED)
        scale = np.array(vis.shape[1::-1]) / np.array(field.shape[:0:-1])
        rows, columns = np.nonzero(sure)
        vis_points.append((np.stack([columns, rows], 1) + 0.5) * scale - 0.5)
        moved.append(field[:2, sure].T)
    at, found = np.concatenate(vis_points), np.concatenate(moved)
    if len(at) < _LEAST_CELLS:
        return Opinion(0.0, 0.0, len(at) / max(cells, 1), None)
    left = np.hypot(found[:, 0], found[:, 1])
    # What lies at a visible point has been warped to another one: that correction comes after.
    correction, _ = cv2.findHomography(at + found, at, cv2.RANSAC, 3.0)
    refined = None if correction is None else correction @ homography
    if refined is not None:
        refined = refined / refined[2, 2]
    percentiles = np.percentile(left, (50, 95))
    return Opinion(float(percentiles[0]), float(percentiles[1]), len(at) / cells, refined)
