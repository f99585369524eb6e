"""Calibrate pairs whose homography is known: registered ones with the IR image moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.calibration.maps import Size, displacement, stretched
from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.image_files import pairs_in, read_thermal, read_visible
from irvis_fusion_core.registration.camera_geometry import project


def corners_of(size: Size) -> np.ndarray:
    """Return x, y of the four corner pixels, 4x2."""
    right, bottom = size[1] - 1, size[0] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], float)


def random_homography(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return 8 % shift of all corners, 3 % of each (of the diagonal), 10 % in size, 3 degrees."""
    corners, diagonal = corners_of(size), np.hypot(*size)
    centre = corners.mean(axis=0)
    turn, scale = np.deg2rad(rng.uniform(-3, 3)), rng.uniform(0.9, 1.1)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = (corners - centre) @ matrix.T + centre + rng.uniform(-0.08, 0.08, 2) * diagonal
    target += rng.uniform(-0.03, 0.03, (4, 2)) * diagonal
    return cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))


def seen_through(truth: np.ndarray, ir: np.ndarray, size: Size, flags: int) -> np.ndarray:
    """Return the IR image of `size` that `truth` registers; borders are repeated outwards."""
    inverse = np.linalg.inv(truth)
    border = cv2.BORDER_REPLICATE
    return cv2.warpPerspective(ir, inverse, size[::-1], flags=flags, borderMode=border)


def synthetic(folder: Path, count: int) -> Iterator[tuple[str, float, float]]:
    """Yield stem, corner error, median error (px) of pairs with IR moved; inf where refused."""
    files = pairs_in(str(folder))
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(files) - 1, count).astype(int):
        ir, vis = read_thermal(files[index].ir), read_visible(files[index].vis)
        truth, corners = random_homography(rng, ir.shape), corners_of(ir.shape)
        seen = seen_through(truth, ir, ir.shape, cv2.INTER_LINEAR)
        try:
            found = estimate_homography([(seen, vis)]).homography
        except CalibrationError:
            yield files[index].stem, np.inf, np.inf
            continue
        error = np.linalg.norm(project(found, corners) - project(truth, corners), axis=1)
        inner = displacement(truth, found, ir.shape, ir.shape)
        yield files[index].stem, float(error.mean()), inner


def rig(
    folder: Path, tries: int, ir_size: Size = (512, 640), counts: Sequence[int] = (1, 4, 12)
) -> dict[int, list[float]]:
    """Return number of pairs -> median errors of one rig's, visible px; inf where refused."""
    files = pairs_in(str(folder))
    vis_size = read_visible(files[0].vis).shape[:2]
    rng = np.random.default_rng(1)
    errors: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(tries):
        truth = random_homography(rng, vis_size) @ stretched(ir_size, vis_size)
        pairs = []
        for index in rng.permutation(len(files))[: max(counts)]:
            ir = cv2.resize(read_thermal(files[index].ir), vis_size[::-1])
            seen = seen_through(truth, ir, ir_size, cv2.INTER_AREA)
            pairs.append((seen, read_visible(files[index].vis)))
        for count in counts:
            try:
                found = estimate_homography(pairs[:count]).homography
                errors[count].append(displacement(truth, found, ir_size, vis_size))
            except CalibrationError:
                errors[count].append(np.inf)
    return errors
