"""From a rough similarity to a homography: match blocks, fit, warp, with ever smaller reach.

Every frame of a fixed rig contributes its matches to one fit: RANSAC, then Gauss-Newton on
Mahalanobis distances (a block on a straight edge is located only across it) with Geman-McClure
weights. Priors on the whole map from the IR image keep perspective and shear near those of two
cameras that look the same way, so that matches in one corner cannot bend the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Tuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.block_matching import Matches, channels, match_blocks
from irvis_fusion_core.calibration.oriented_gradients import resized
from irvis_fusion_core.registration.camera_geometry import Size, project, scale_of, stretch

# Pixels of the working grid for each IR pixel: a finer grid shows no more of the IR image.
_IR_PIXEL = 1.3
# Length of the working grid's diagonal: blocks need room, and more is only slower.
_LEAST_DIAGONAL_PX = 480.0
_LARGEST_DIAGONAL_PX = 1400.0
# Priors, one standard deviation each: relative change of scale from the centre of the IR image to
# its edge, half the difference of the scales of both diagonals and of both sides, and radial
# distortion at the edge.
_PERSPECTIVE_SPREAD = 0.02
_SHEAR_SPREAD = 0.02
_ASPECT_SPREAD = 0.01
_BEND_SPREAD = 0.01
# Matches share their weight within about this part of the working grid's diagonal.
_CROWD = 0.1
_LAWSON_STEPS = 30
# Blocks overlap: this many of them say the same.
_OVERLAP = 16.0
_FIT_STEPS = 12

Pair = Tuple[np.ndarray, np.ndarray]
"""IR and visible image, float32 HxW grey."""


class Round(NamedTuple):
    """Sizes in pixels of the working grid, which `shrink` makes coarser."""

    shrink: float
    block: int
    reach: int
    step: int
    tolerance: float


ROUNDS = (
    Round(0.5, 56, 20, 14, 2.5),
    Round(0.5, 48, 10, 12, 2.0),
    Round(1.0, 80, 12, 20, 3.0),
    Round(1.0, 64, 8, 16, 2.5),
    Round(1.0, 32, 6, 12, 2.5),
)


@dataclass(frozen=True)
class FineAlignment:
    """A homography between full-size images, and its evidence (visible pixels)."""

    homography: np.ndarray  # float64 3x3, IR to visible
    blocks: int  # searched, in all frames
    inliers: int  # found where the homography maps them
    coverage: float  # share of the common part inside the inliers' hull, 0..1
    median_px: float  # held-out residuals: fit to one half of the blocks, measured in the other
    p90_px: float


def refine(pairs: Sequence[Pair], homography: np.ndarray) -> FineAlignment | None:
    """Refine IR-to-visible on (IR, visible) float32 grey images; None where blocks disagree."""
    finest = _finest(pairs, homography)
    inliers = np.zeros(0, bool)
    for each in ROUNDS:
        grid = _Grid(pairs, finest * each.shrink, homography)
        present = grid.to @ homography
        matches, blocks = grid.match(present, each)
        fit = fit_homography(matches, each.tolerance, present, grid.ir_size, grid.size)
        if fit is None:
            return None
        homography = np.linalg.inv(grid.to) @ fit.homography @ present
        homography = homography / homography[2, 2]
        inliers = fit.inliers
    residuals = _held_out(matches, each, present, grid) / grid.scale
    if residuals.size == 0:
        return None
    return FineAlignment(
        homography,
        blocks,
        int(inliers.sum()),
        _coverage(matches.at[inliers], grid.common(grid.to @ homography)),
        float(np.median(residuals)),
        float(np.percentile(residuals, 90)),
    )


class _Grid:
    """The visible images at a working size, no sharper than the infrared ones."""

    def __init__(self, pairs: Sequence[Pair], scale: float, homography: np.ndarray) -> None:
        self._irs = [ir for ir, _ in pairs]
        visible = [resized(vis, scale) for _, vis in pairs]
        ir_pixel = scale * scale_of(homography)
        if ir_pixel > _IR_PIXEL:
            sharpest = 0.5 * float(np.sqrt(ir_pixel**2 - 1.0))
            visible = [cv2.GaussianBlur(vis, (0, 0), sharpest) for vis in visible]
        self.size, self.ir_size = visible[0].shape, pairs[0][0].shape
        self.to = stretch(pairs[0][1].shape, self.size)
        self.scale = scale
        self._channels = [channels(vis) for vis in visible]

    def common(self, present: np.ndarray) -> np.ndarray:
        """Return uint8 HxW: 1 where there is IR."""
        return cv2.warpPerspective(np.ones(self.ir_size, np.uint8), present, self.size[::-1])

    def match(self, present: np.ndarray, each: Round) -> tuple[Matches, int]:
        """Return the matches of all frames, and the number of blocks searched.

        Weights are such that equal areas of each frame count the same, whatever their texture.
        """
        known = self.common(present) > 0
        parts, blocks, room = [], 0, []
        for ir, vis_channels in zip(self._irs, self._channels):
            warped = cv2.warpPerspective(ir, present, self.size[::-1], flags=cv2.INTER_LINEAR)
            found, looked = match_blocks(
                channels(warped, known), vis_channels, known, each.block, each.reach, each.step
            )
            parts.append(found)
            blocks += looked
            room.append(1.0 / _crowd(found.at / each.step, np.array(self.size) / each.step))
        matches = Matches(*(np.concatenate(column) for column in zip(*parts)))
        share = np.concatenate(room)
        return matches._replace(
            weight=matches.weight * share * (len(share) / max(1e-9, share.sum()))
        ), blocks


def _crowd(cells: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return how many points (x, y) lie around each, on a grid of (height, width) cells."""
    counts = np.zeros(size.astype(int) + 1, np.float32)
    place = tuple(cells.astype(int).T[::-1])
    counts[place] = 1.0
    return cv2.GaussianBlur(counts, (0, 0), _CROWD * float(np.hypot(*size)))[place]


def _held_out(matches: Matches, each: Round, present: np.ndarray, grid: _Grid) -> np.ndarray:
    """Return the residuals of matches under a fit to the others, by tiles of the image.

    Blocks overlap, so neighbours are not independent: tiles are three blocks wide. Wrong matches,
    beyond the reach, are left out.
    """
    tile = 3 * each.block
    parity = (matches.at // tile).astype(int).sum(axis=1) % 2
    residuals = []
    for held in (0, 1):
        train, test = parity != held, parity == held
        half = Matches(*(column[train] for column in matches))
        fit = fit_homography(half, each.tolerance, present, grid.ir_size, grid.size)
        if fit is None or not test.any():
            continue
        placed = project(fit.homography, matches.at[test])
        distance = np.linalg.norm(placed - matches.found[test], axis=1)
        residuals.append(distance[distance <= each.reach])
    return np.concatenate(residuals) if residuals else np.zeros(0)


def _coverage(points: np.ndarray, common: np.ndarray) -> float:
    hull = cv2.convexHull(points.astype(np.float32))
    drawn = np.zeros(common.shape, np.uint8)
    cv2.fillConvexPoly(drawn, np.round(hull).astype(np.int32), 1)
    return float((drawn & common).sum()) / max(1.0, float(common.sum()))


def quick_inliers(pairs: Sequence[Pair], homography: np.ndarray) -> int:
    """Count the blocks that agree on one map near `homography`, at the coarsest grid."""
    each = ROUNDS[0]
    grid = _Grid(pairs, _finest(pairs, homography) * each.shrink, homography)
    present = grid.to @ homography
    matches, _ = grid.match(present, each)
    fit = fit_homography(matches, each.tolerance, present, grid.ir_size, grid.size)
    return 0 if fit is None else int(fit.inliers.sum())


def _finest(pairs: Sequence[Pair], homography: np.ndarray) -> float:
    scale = scale_of(homography)
    diagonal = float(np.hypot(*pairs[0][1].shape))
    wanted = max(_IR_PIXEL / scale, _LEAST_DIAGONAL_PX / diagonal)
    return min(1.0, wanted, _LARGEST_DIAGONAL_PX / diagonal)


class Fit(NamedTuple):
    """A homography between the points of matches, and its inliers."""

    homography: np.ndarray  # float64 3x3
    inliers: np.ndarray  # bool N, of the map with lens distortion


def fit_homography(
    matches: Matches, tolerance_px: float, present: np.ndarray, ir_size: Size, size: Size
) -> Fit | None:
    """Fit `found ~ H at` on the working grid; None where too few agree.

    Args:
        tolerance_px: Largest residual of an inlier.
        present: 3x3 from IR pixels to the grid, with which the blocks were placed. The priors hold
            for `H @ present`.
        ir_size: (height, width) of the IR image.
        size: (height, width) of the working grid.
    """
    if len(matches.at) < 8:
        return None
    # An affine map agrees by chance less often than a homography.
    options = {"ransacReprojThreshold": 1.5 * tolerance_px, "maxIters": 5000, "confidence": 0.999}
    affine, _ = cv2.estimateAffine2D(matches.at, matches.found, method=cv2.RANSAC, **options)
    if affine is None:
        return None
    start = np.vstack([affine, [0, 0, 1]]) @ present
    # Both sides are centred on the middle of the IR image, half of whose length is the unit.
    half = max(ir_size) / 2.0
    middle = (np.array(ir_size[::-1]) - 1.0) / 2.0
    from_ir = _centring(middle, half)
    unit = np.linalg.norm(np.diff(project(start, middle + [[-0.5, 0.0], [0.5, 0.0]]), axis=0))
    to_grid = _centring(project(start, middle[None])[0], half * float(unit))
    at = project(from_ir @ np.linalg.inv(present), matches.at)
    found = project(to_grid, matches.found)
    h = to_grid @ start @ np.linalg.inv(from_ir)
    bend = 0.0
    # The weight of each direction of a match, Nx2x2, with `weight` as largest eigenvalue.
    largest = np.linalg.eigvalsh(matches.precision)[:, 1]
    shapes = matches.precision * (matches.weight / np.maximum(largest, 1e-12))[:, None, None]
    for number in range(_FIT_STEPS):
        # From a wide basin to a narrow one.
        spread = tolerance_px * to_grid[0, 0] * max(1.2, 3.0 - 0.3 * number)
        h, bend = _step(h / h[2, 2], bend, at, found, shapes, spread)
    residuals = np.linalg.norm(project(h, _bent(at, bend)) - found, axis=1) / to_grid[0, 0]
    inliers = residuals <= tolerance_px
    if inliers.sum() < 8:
        return None
    common = _common_points(np.linalg.inv(to_grid) @ h @ from_ir, ir_size, size)
    if len(common) >= 8:
        points = project(from_ir, common)
        h = _least_worst(points, project(h, _bent(points, bend)))
    h = np.linalg.inv(to_grid) @ h @ from_ir @ np.linalg.inv(present)
    return Fit(h / h[2, 2], inliers)


def _centring(origin: np.ndarray, unit: float) -> np.ndarray:
    """Return the 3x3 to coordinates with this origin and unit."""
    to = np.diag([1 / unit, 1 / unit, 1.0])
    to[:2, 2] = -origin / unit
    return to


def _bent(points: np.ndarray, bend: float) -> np.ndarray:
    """Return centred IR points after radial distortion by both lenses together."""
    return points * (1.0 + bend * (points**2).sum(axis=1, keepdims=True))


def _step(
    h: np.ndarray,
    bend: float,
    at: np.ndarray,
    found: np.ndarray,
    shapes: np.ndarray,
    spread: float,
) -> tuple[np.ndarray, float]:
    """Return `h` and `bend` after a Gauss-Newton step of all nine, in centred coordinates."""
    bent = _bent(at, bend)
    x, y = bent[:, 0], bent[:, 1]
    scale = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    mapped = project(h, bent)
    error = found - mapped
    jacobian = np.zeros((len(at), 2, 9))
    jacobian[:, 0, :3] = jacobian[:, 1, 3:6] = np.stack([x, y, np.ones_like(x)], axis=1)
    jacobian[:, :, 6:8] = -mapped[:, :, None] * bent[:, None]
    outwards = at * (at**2).sum(axis=1, keepdims=True)
    jacobian[:, :, 8] = outwards @ h[:2, :2].T - mapped * (outwards @ h[2, :2])[:, None]
    jacobian /= scale[:, None, None]
    distance = np.einsum("ni,nij,nj->n", error, shapes, error) / spread**2
    robust = 1.0 / (1.0 + distance) ** 2
    # The better the matches agree, the less do the priors count.
    noise = spread**2 * float(np.clip(2.0 * np.median(distance), 1e-4, 1.0))
    weighted = shapes * robust[:, None, None] / (_OVERLAP * noise)
    normal = np.einsum("nia,nij,njb->ab", jacobian, weighted, jacobian)
    right = np.einsum("nia,nij,nj->a", jacobian, weighted, error)
    prior, wanted = _priors(h, bend)
    normal += prior.T @ prior + 1e-9 * np.eye(9) * np.trace(normal)
    change = np.linalg.solve(normal, right + prior.T @ wanted)
    return np.append(h.ravel()[:8] + change[:8], 1.0).reshape(3, 3), bend + float(change[8])


def _priors(h: np.ndarray, bend: float) -> tuple[np.ndarray, np.ndarray]:
    """Return 5x9 and 5: what a change does to aspect, shear, perspective and distortion."""
    at_centre = h[:2, :2] - np.outer(h[:2, 2], h[2, :2])
    aspect = (at_centre[0, 0] - at_centre[1, 1]) / 2.0
    shear = (at_centre[0, 1] + at_centre[1, 0]) / 2.0
    # Pixels are square, or far from it: the prior lets go of stretched images.
    aspect_spread = float(np.hypot(_ASPECT_SPREAD, aspect**2 / _ASPECT_SPREAD))
    rows = np.zeros((5, 9))
    rows[0, [0, 4]] = 0.5 / aspect_spread, -0.5 / aspect_spread
    rows[1, [1, 3]] = 0.5 / _SHEAR_SPREAD
    rows[2, 6] = rows[3, 7] = 1.0 / _PERSPECTIVE_SPREAD
    rows[4, 8] = 1.0 / _BEND_SPREAD
    spreads = aspect / aspect_spread, shear / _SHEAR_SPREAD, *(h[2, :2] / _PERSPECTIVE_SPREAD)
    return rows, -np.array([*spreads, bend / _BEND_SPREAD])


def _common_points(to_grid: np.ndarray, ir_size: Size, size: Size) -> np.ndarray:
    """Return IR points, Nx2, evenly over the part that both images show."""
    rows, columns = np.mgrid[0 : ir_size[0] - 1 : 24j, 0 : ir_size[1] - 1 : 30j]
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    ends = project(to_grid, points)
    return points[((ends >= 0) & (ends <= (size[1] - 1.0, size[0] - 1.0))).all(axis=1)]


def _least_worst(points: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the homography with the smallest largest distance from `ends` (Lawson, 1961)."""
    one, nil = np.ones((len(points), 1)), np.zeros((len(points), 3))
    lifted = np.hstack([points, one])
    rows = np.stack(
        [
            np.hstack([lifted, nil, -ends[:, :1] * lifted]),
            np.hstack([nil, lifted, -ends[:, 1:] * lifted]),
        ],
        axis=1,
    )
    weight = np.full(len(points), 1.0 / len(points))
    for _ in range(_LAWSON_STEPS):
        normal = np.einsum("n,nia,nib->ab", weight, rows, rows)
        h = np.linalg.eigh(normal)[1][:, 0].reshape(3, 3)
        weight = weight * (np.linalg.norm(project(h, points) - ends, axis=1) + 1e-12)
        weight /= weight.sum()
    return h / h[2, 2]
