"""Evidence of the misalignment between thermal and visible images, from many pairs.

Orientation correlation (Fitch, Kadyrov, Christmas and Kittler, BMVC 2002) with doubled angles, so
that contrast may be reversed. Each tile of the thermal image is correlated with its surroundings
in the visible one. The surfaces are summed over time: motion of the scene cancels, a shift between
the cameras adds up.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.metrics.video_metrics import derivatives
from irvis_fusion_core.registration.camera_geometry import Size

# Tiles down and across; a turn shows as different shifts.
_TILES = (3, 4)
# Least search range, pixels: the height of a peak is measured in deviations of its surroundings,
# which must be larger than the peak.
_LEAST_SEARCH_PX = 20
# Gradients are divided by those of a window of this size, so that faint edges count ...
_CONTRAST_WINDOW = (31, 31)
# ... unless they are below half a grey level per pixel, which is noise.
_LEAST_SQUARED_GRADIENT = 0.5
# Mean edge strength from which a pair counts in full; a flat image counts nothing.
_ENOUGH_EDGES = 0.05
# Peaks closer than this are one, pixels.
_PEAK_RADIUS_PX = 4
# Search range for a tile's own peak around the common one.
_TILE_SEARCH_PX = 6
_LEAST_TILE_HEIGHT = 3.0
_LEAST_TILES = 7
# Tiles further than this from the common motion are outliers, pixels.
_TILE_TOLERANCE_PX = 2.0
# Weight of the prior against turn and stretch; a tile weighs 0 to 5.
_PRIOR_WEIGHT = 3.0

MOTIONS = ("shift", "similarity", "affine")
_SHIFTS = [[[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]]
_BASES = {
    "similarity": np.array([*_SHIFTS, [[1, 0, 0], [0, 1, 0]], [[0, -1, 0], [1, 0, 0]]], float),
    "affine": np.eye(6)[[2, 5, 0, 1, 3, 4]].reshape(6, 2, 3),
}
"""Name -> 2x3 displacements, first both shifts, that a motion is a weighted sum of."""


class Estimate(NamedTuple):
    """A motion: `matrix` (2x3) takes thermal points to visible ones, `shift_px` at the centre.

    `height` is that of the peak over its surroundings, in standard deviations; `lead` is its
    height over that of the next peak (1: equally likely). Different scenes reach 3.5 and 1.4, the
    same scene 4 to 10 and 1.5 to 4.
    """

    matrix: np.ndarray
    shift_px: tuple[float, float]
    height: float
    lead: float
    tiles: int


class AlignmentEvidence:
    """Sums correlation surfaces of pairs of one size; old ones fade.

    `weight` is the number of pairs with edges that the evidence is worth.

    Args:
        size: (height, width) of the images; 200 to 500 pixels wide is enough.
        largest_shift_px: least search range, in these pixels.
        memory_s: age at which evidence counts 37 %.
    """

    def __init__(self, size: Size, largest_shift_px: float, memory_s: float = 10.0) -> None:
        self.size = size
        self.search_px = max(_LEAST_SEARCH_PX, int(math.ceil(largest_shift_px)) + _PEAK_RADIUS_PX)
        self._memory_s = memory_s
        width = 2 * self.search_px + 1
        self._surfaces = np.zeros((_TILES[0] * _TILES[1], width, width), np.float32)
        # (top, bottom, left, right) of each tile, and its centre (x, y).
        rows, columns = ([side * i // n for i in range(n + 1)] for side, n in zip(size, _TILES))
        spans = itertools.product(zip(rows, rows[1:]), zip(columns, columns[1:]))
        self._tiles = [(*down, *across) for down, across in spans]
        ends = np.array(self._tiles, np.float64)
        self._centres = np.stack([ends[:, 2:].sum(axis=1), ends[:, :2].sum(axis=1)], 1) / 2 - 0.5
        self.weight = 0.0

    def fade(self, elapsed_s: float) -> None:
        """Reduce the evidence by its age."""
        share = math.exp(-max(elapsed_s, 0.0) / self._memory_s)
        self._surfaces *= np.float32(share)
        self.weight *= share

    def add(self, ir: np.ndarray, vis: np.ndarray, known: np.ndarray | None = None) -> None:
        """Add a pair, uint8 HxW of `size`; `known` is nonzero where IR is valid."""
        reach = self.search_px
        ir_edges, vis_edges = orientation(ir, known), orientation(vis)
        fewest = min(float(np.abs(edges).mean()) for edges in (ir_edges, vis_edges))
        self.weight += min(fewest / _ENOUGH_EDGES, 1.0)
        vis_edges = cv2.copyMakeBorder(vis_edges, *[reach] * 4, cv2.BORDER_CONSTANT, value=(0, 0))
        for surface, (top, bottom, left, right) in zip(self._surfaces, self._tiles):
            tile = np.ascontiguousarray(ir_edges[top:bottom, left:right])
            around = vis_edges[top : bottom + 2 * reach, left : right + 2 * reach]
            surface += cv2.matchTemplate(around, tile, cv2.TM_CCORR)

    def estimate(self, motion: str = "similarity") -> Estimate:
        """Return the most likely motion; the identity with height 0 without evidence."""
        x, y, height, lead = _peak(self._surfaces.sum(axis=0))
        matrix, tiles = np.array([[1.0, 0.0, x], [0.0, 1.0, y]]), 0
        if motion != "shift" and height > 0.0:
            places, weights = self._tile_peaks(x, y)
            fitted, tiles = _common_motion(motion, self._centres, places, weights, self.size)
            matrix = matrix if fitted is None else fitted
        middle = np.array([(self.size[1] - 1) / 2.0, (self.size[0] - 1) / 2.0])
        offset = matrix @ np.append(middle, 1.0) - middle
        return Estimate(matrix, (float(offset[0]), float(offset[1])), height, lead, tiles)

    def _tile_peaks(self, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        """Return each tile's shift near the common one (Nx2, pixels), and its weight."""
        reach, near = self.search_px, _TILE_SEARCH_PX
        column, row = int(round(x)) + reach, int(round(y)) + reach
        left, top = max(column - near, 0), max(row - near, 0)
        places, weights = [], []
        for surface in self._surfaces:
            window = surface[top : row + near + 1, left : column + near + 1]
            own_x, own_y, _, _ = _peak(window)
            middle = ((window.shape[1] - 1) // 2, (window.shape[0] - 1) // 2)
            places.append((own_x + middle[0] + left - reach, own_y + middle[1] + top - reach))
            deviation = float(surface.std())
            height = float(window.max()) - float(surface.mean())
            weights.append(max(height / deviation - _LEAST_TILE_HEIGHT, 0.0) if deviation else 0.0)
        return np.array(places), np.array(weights)


def orientation(image: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Return edges by strength and doubled angle, float32 HxWx2; the sign of contrast drops out.

    Strength is relative to the surroundings, at most 1, and 0 where `known` is 0 and next to it.
    """
    across, down = derivatives(image.astype(np.float32), 1.0)
    squared = across * across + down * down
    around = cv2.boxFilter(squared, -1, _CONTRAST_WINDOW)
    weight = 1.0 / (squared + around + _LEAST_SQUARED_GRADIENT)
    if known is not None:
        # The border of the thermal image is not an edge of the scene.
        weight *= cv2.erode((known > 0).astype(np.float32), np.ones((9, 9), np.uint8))
    return cv2.merge([(across * across - down * down) * weight, 2.0 * across * down * weight])


def _peak(surface: np.ndarray) -> tuple[float, float, float, float]:
    """Return the highest peak: x and y from the centre, height, and lead over the next peak."""
    deviation = float(surface.std())
    if not deviation > 0.0:
        return 0.0, 0.0, 0.0, 1.0
    row, column = (int(i) for i in np.unravel_index(int(surface.argmax()), surface.shape))
    best = float(surface[row, column])
    x = column - (surface.shape[1] - 1) // 2 + _vertex(surface[row], column)
    y = row - (surface.shape[0] - 1) // 2 + _vertex(surface[:, column], row)
    elsewhere = surface.copy()
    top, left = (max(at - _PEAK_RADIUS_PX, 0) for at in (row, column))
    elsewhere[top : row + _PEAK_RADIUS_PX + 1, left : column + _PEAK_RADIUS_PX + 1] = -np.inf
    usual = float(np.median(surface))
    second = max(float(elsewhere.max()) - usual, 1e-6 * (best - usual))
    return x, y, (best - float(surface.mean())) / deviation, (best - usual) / second


def _vertex(line: np.ndarray, at: int) -> float:
    """Return the offset, -0.5 to 0.5, of the vertex of a parabola through three values."""
    if not 0 < at < line.size - 1:
        return 0.0
    before, here, after = (float(line[at + i]) for i in (-1, 0, 1))
    bend = before - 2.0 * here + after
    return 0.5 * (before - after) / bend if bend < 0.0 else 0.0


def _common_motion(
    motion: str, centres: np.ndarray, places: np.ndarray, weights: np.ndarray, size: Size
) -> tuple[np.ndarray | None, int]:
    """Fit one motion to all places by weighted least squares; drop outliers one by one.

    A prior keeps turn, stretch and shear small, so that a single tile cannot turn the image.
    """
    middle = np.array([(size[1] - 1) / 2.0, (size[0] - 1) / 2.0])
    reach = float(np.hypot(*middle))
    basis = _BASES[motion]
    from_middle = np.column_stack([(centres - middle) / reach, np.ones(len(centres))])
    across, down = from_middle @ basis[:, 0].T, from_middle @ basis[:, 1].T
    prior = np.full(len(basis), _PRIOR_WEIGHT)
    prior[:2] = 0.0
    used = weights > 0.0
    while int(used.sum()) >= _LEAST_TILES:
        design = np.vstack([across[used], down[used]])
        weight = np.tile(weights[used], 2)
        wanted = np.concatenate([places[used, 0], places[used, 1]])
        normal = design.T @ (weight[:, None] * design) + np.diag(prior)
        found = np.linalg.solve(normal, design.T @ (weight * wanted))
        moved = np.stack([across[used] @ found, down[used] @ found], axis=1)
        distances = np.linalg.norm(moved - places[used], axis=1)
        if distances.max() <= _TILE_TOLERANCE_PX:
            moves = np.tensordot(found, basis, 1)
            linear = np.eye(2) + moves[:, :2] / reach
            shift = middle + moves[:, 2] - linear @ middle
            return np.column_stack([linear, shift]), int(used.sum())
        used[np.flatnonzero(used)[int(distances.argmax())]] = False
    return None, 0
