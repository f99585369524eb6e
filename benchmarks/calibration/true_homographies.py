"""Pairs whose homography, IR to visible pixels, is known: RoadScene as the cameras gave it.

RoadScene's makers registered every pair by hand. `roadscene_boxes/homographies.json` holds the
map of each thermal frame onto its registered image; the visible image's own map is found by
matching it with its registered version. Both are refined by grey levels, where each camera's image
correlates with its registered version by .99: that takes out up to 1 px (of 640). Both together
lead from thermal to visible pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.calibration.homographies import (
    Size,
    by_grey_levels,
    distances,
    random_homography,
    same_camera_homography,
)
from irvis_fusion_core.image_files import pairs_in, read_thermal, read_visible
from irvis_fusion_core.registration.camera_geometry import stretch

REFERENCE_WIDTH = 640.0
"""Errors are pixels of a visible image of this width."""


class TruePair(NamedTuple):
    """A pair as its cameras gave it, and its homography (H[2, 2] = 1)."""

    stem: str
    ir: np.ndarray  # uint8 HxW
    vis: np.ndarray  # uint8 HxWx3 BGR
    homography: np.ndarray  # float64 3x3, IR to visible pixels


def true_pairs(data: Path, limit: int | None = None) -> Iterator[TruePair]:
    """Yield the pairs of `roadscene_unaligned`, by name; those without a truth are left out."""
    registered = {
        pair.stem: pair
        for part in ("train", "val")
        for pair in pairs_in(str(data / "roadscene" / part))
    }
    known = json.loads((data / "roadscene_boxes" / "homographies.json").read_text())
    for pair in pairs_in(str(data / "roadscene_unaligned"))[:limit]:
        if pair.stem not in known or pair.stem not in registered:
            continue
        ir, vis = read_thermal(pair.ir), read_visible(pair.vis)
        theirs = registered[pair.stem]
        images = (vis, read_visible(theirs.vis))
        cv2.setRNGSeed(0)
        from_vis = same_camera_homography(*(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) for i in images))
        told = np.array(known[pair.stem]["H_fullIR_to_crop"])
        from_ir = by_grey_levels(ir, read_thermal(theirs.ir), told)
        if from_vis is None or from_ir is None:
            continue
        h = np.linalg.inv(from_vis) @ from_ir
        yield TruePair(pair.stem, ir, vis, h / h[2, 2])


class PointErrors(NamedTuple):
    """Distances of two maps over both images' common part, in pixels of REFERENCE_WIDTH."""

    median_px: float
    worst_px: float


def point_errors(
    found: np.ndarray, truth: np.ndarray, ir_size: Size, vis_size: Size
) -> PointErrors:
    """Compare two homographies at every eighth IR pixel."""
    away = distances(found, truth, ir_size, vis_size, 8) * REFERENCE_WIDTH / vis_size[1]
    return PointErrors(float(np.median(away)), float(away.max()))


def mutual_information(ir: np.ndarray, vis: np.ndarray, homography: np.ndarray) -> float:
    """Return the mutual information (nats) of both images over 36 parts, a mean.

    It uses grey levels only, no edges: a second opinion on which of two homographies fits better.
    """
    height, width = (round(side * 800.0 / vis.shape[1]) for side in vis.shape[:2])
    grey = cv2.cvtColor(cv2.resize(vis, (width, height)), cv2.COLOR_BGR2GRAY)
    h = stretch(vis.shape[:2], (height, width)) @ homography
    even = cv2.normalize(ir, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    warped = cv2.warpPerspective(even, h, (width, height))
    known = cv2.warpPerspective(np.ones(ir.shape, np.uint8), h, (width, height))
    found = []
    for row, column in np.ndindex(6, 6):
        part = tuple(
            slice(place * side // 6, (place + 1) * side // 6)
            for place, side in ((row, height), (column, width))
        )
        if known[part].mean() > 0.9:
            images = [np.ascontiguousarray(image[part]) for image in (warped, grey)]
            counts = cv2.calcHist(images, [0, 1], None, [32, 32], [0, 256, 0, 256])
            both = cv2.GaussianBlur(counts, (0, 0), 0.7) / counts.sum()
            apart = both.sum(axis=1, keepdims=True) * both.sum(axis=0, keepdims=True)
            some = both > 1e-9
            found.append(float((both[some] * np.log(both[some] / apart[some])).sum()))
    return float(np.mean(found))


def one_rig(
    pairs: Sequence[TruePair], rng: np.random.Generator, vis_size: tuple[int, int] = (960, 1280)
) -> list[TruePair]:
    """Return the pairs as one rig sees them: visible images warped so that one homography holds.

    The rig's visible image is the part of the thermal frame that all visible images show, moved
    by a random homography.
    """
    ir_size = pairs[0].ir.shape
    seen = np.ones(ir_size, np.uint8)
    for pair in pairs:
        whole = np.ones(pair.vis.shape[:2], np.uint8)
        seen &= cv2.warpPerspective(whole, np.linalg.inv(pair.homography), ir_size[::-1])
    rows, columns = (np.nonzero(seen.any(axis=axis))[0] for axis in (1, 0))
    part = (int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1))
    move = np.eye(3)
    move[:2, 2] = -columns[0], -rows[0]
    truth = random_homography(rng, vis_size) @ stretch(part, vis_size) @ move
    truth /= truth[2, 2]
    border, rig = cv2.BORDER_REPLICATE, []
    for pair in pairs:
        h = truth @ np.linalg.inv(pair.homography)
        vis = cv2.warpPerspective(pair.vis, h, vis_size[::-1], borderMode=border)
        rig.append(TruePair(pair.stem, pair.ir, vis, truth))
    return rig
