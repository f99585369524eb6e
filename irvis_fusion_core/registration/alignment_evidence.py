"""How far is the thermal image off in the visible one? Evidence, gathered over many pairs.

Thermal and visible edges lie at the same places, but either side may be the brighter one. Doubling
the angle of a gradient makes both alike, as in orientation correlation (Fitch, Kadyrov, Christmas
and Kittler, BMVC 2002); here each tile of the thermal image is correlated with its surroundings
in the visible one, and the correlation surfaces are summed over time. One pair decides nothing:
what moves with the scene cancels, what is the cameras' own adds up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

# Tiles down and across; a turn shows as shifts that differ between them.
_TILES = (3, 4)
# Each tile is searched so far at least, in pixels of the images given: the height of a peak is
# told in deviations of its surroundings, which must be larger than the peak.
_LEAST_SEARCH_PX = 20
# Gradients are weighed against their surroundings of this width, so that faint edges count ...
_CONTRAST_WINDOW = (31, 31)
# ... unless they are below half a grey level a pixel: that is noise.
_LEAST_SQUARED_GRADIENT = 0.5
# An image whose edges are on average this strong is a full piece of evidence; a flat one, none.
_ENOUGH_EDGES = 0.05
# Another peak counts as one from this distance on, pixels.
_PEAK_RADIUS_PX = 4
# A tile's own peak is looked for so far from the common one.
_TILE_SEARCH_PX = 6
_LEAST_TILE_HEIGHT = 3.0
_LEAST_TILES = 7
# Tiles further than this from the common motion are outliers, pixels.
_TILE_TOLERANCE_PX = 2.0
# How strongly turn and stretch are drawn to none; a tile weighs 0 to 5.
_PRIOR_WEIGHT = 3.0

MOTIONS = ("shift", "similarity", "affine")


class Estimate(NamedTuple):
    """Where the thermal image has to go: `matrix` (2x3) takes its points to the visible ones.

    `height` is that of the peak over its surroundings in standard deviations, `lead` its height
    over the next best one's (1: as likely elsewhere); images of different scenes reach 3.5 and
    1.4, of the same scene 4 to 10 and 1.5 to 4. `shift_px` is at the image's centre.
    """

    matrix: np.ndarray
    shift_px: tuple[float, float]
    height: float
    lead: float
    tiles: int


class AlignmentEvidence:
    """Sums correlation surfaces of pairs of one size, old ones fading.

    Args:
        size: (height, width) of the images; 200 to 500 pixels wide is enough.
        largest_shift_px: how far to look at least, in these pixels.
        memory_s: evidence of this age counts 37 %.

    Attributes:
        weight: how many pairs with edges the evidence is worth; the peaks alone do not tell, for
            they fade all at once.
    """

    def __init__(
        self, size: tuple[int, int], largest_shift_px: float, memory_s: float = 10.0
    ) -> None:
        self.size = size
        self.search_px = max(_LEAST_SEARCH_PX, int(math.ceil(largest_shift_px)) + _PEAK_RADIUS_PX)
        self._memory_s = memory_s
        width = 2 * self.search_px + 1
        self._surfaces = np.zeros((_TILES[0] * _TILES[1], width, width), np.float32)
        self._centres = np.array([_centre(tile) for tile in _tiles(size)], np.float64)
        self.weight = 0.0

    def fade(self, elapsed_s: float) -> None:
        """Let `elapsed_s` pass."""
        share = math.exp(-max(elapsed_s, 0.0) / self._memory_s)
        self._surfaces *= np.float32(share)
        self.weight *= share

    def add(self, ir: np.ndarray, vis: np.ndarray, known: np.ndarray | None = None) -> None:
        """Add a pair, uint8 HxW of `size`; `known` is nonzero where there is IR."""
        reach = self.search_px
        ir_edges, vis_edges = orientation(ir, known), orientation(vis)
        fewest = min(float(np.abs(edges).mean()) for edges in (ir_edges, vis_edges))
        self.weight += min(fewest / _ENOUGH_EDGES, 1.0)
        vis_edges = cv2.copyMakeBorder(
            vis_edges, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0, 0)
        )
        for surface, (top, bottom, left, right) in zip(self._surfaces, _tiles(self.size)):
            tile = np.ascontiguousarray(ir_edges[top:bottom, left:right])
            around = vis_edges[top : bottom + 2 * reach, left : right + 2 * reach]
            surface += cv2.matchTemplate(around, tile, cv2.TM_CCORR)

    def estimate(self, motion: str = "similarity") -> Estimate:
        """The motion for which the evidence speaks; the identity with height 0 without any."""
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
        """Each tile's own shift near the common one (Nx2, pixels), and how much it weighs."""
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
    """Edges by strength and doubled angle, float32 HxWx2: alike for either sign of contrast.

    Strength is relative to the surroundings and at most 1; where `known` is 0, and next to it,
    there are no edges.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    squared = across * across + down * down
    weight = 1.0 / (
        squared + cv2.boxFilter(squared, -1, _CONTRAST_WINDOW) + _LEAST_SQUARED_GRADIENT
    )
    if known is not None:
        # The edge of the thermal image is none of the scene.
        weight *= cv2.erode((known > 0).astype(np.float32), np.ones((9, 9), np.uint8))
    return cv2.merge([(across * across - down * down) * weight, 2.0 * across * down * weight])


def _tiles(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of each tile."""
    rows = [size[0] * i // _TILES[0] for i in range(_TILES[0] + 1)]
    columns = [size[1] * i // _TILES[1] for i in range(_TILES[1] + 1)]
    return [
        (top, bottom, left, right)
        for top, bottom in zip(rows, rows[1:])
        for left, right in zip(columns, columns[1:])
    ]


def _centre(tile: tuple[int, int, int, int]) -> tuple[float, float]:
    top, bottom, left, right = tile
    return (left + right - 1) / 2.0, (top + bottom - 1) / 2.0


def _peak(surface: np.ndarray) -> tuple[float, float, float, float]:
    """x, y from the centre to a fraction of a pixel; height; lead over the next peak."""
    deviation = float(surface.std())
    if not deviation > 0.0:
        return 0.0, 0.0, 0.0, 1.0
    row, column = (int(i) for i in np.unravel_index(int(surface.argmax()), surface.shape))
    best = float(surface[row, column])
    x = column - (surface.shape[1] - 1) // 2 + _vertex(surface[row], column)
    y = row - (surface.shape[0] - 1) // 2 + _vertex(surface[:, column], row)
    elsewhere = surface.copy()
    radius = _PEAK_RADIUS_PX
    elsewhere[
        max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1
    ] = -np.inf
    usual = float(np.median(surface))
    second = max(float(elsewhere.max()) - usual, 1e-6 * (best - usual))
    return x, y, (best - float(surface.mean())) / deviation, (best - usual) / second


def _vertex(line: np.ndarray, at: int) -> float:
    """Offset, -0.5 to 0.5, of the parabola's vertex through the maximum and its neighbours."""
    if not 0 < at < line.size - 1:
        return 0.0
    before, here, after = (float(line[at + i]) for i in (-1, 0, 1))
    bend = before - 2.0 * here + after
    return 0.5 * (before - after) / bend if bend < 0.0 else 0.0


def _common_motion(
    motion: str,
    centres: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray,
    size: tuple[int, int],
) -> tuple[np.ndarray | None, int]:
    """Weighted least squares of one motion through all places; outliers dropped one by one.

    Turn, stretch and shear are drawn to none as a few tiles would be: they are small between two
    cameras on one mount, and a tile at the border must not turn the image alone.
    """
    middle = np.array([(size[1] - 1) / 2.0, (size[0] - 1) / 2.0])
    reach = float(np.hypot(*middle))
    u, v = ((centres - middle) / reach).T
    one, none = np.ones(len(u)), np.zeros(len(u))
    # Parameters: shift x, y; then how x and y displacements grow across the image.
    across, down = (
        (np.stack([one, none, u, v, none, none], 1), np.stack([none, one, none, none, u, v], 1))
        if motion == "affine"
        else (np.stack([one, none, u, -v], 1), np.stack([none, one, v, u], 1))
    )
    prior = np.full(across.shape[1], _PRIOR_WEIGHT)
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
            return _matrix(motion, found, middle, reach), int(used.sum())
        used[np.flatnonzero(used)[int(distances.argmax())]] = False
    return None, 0


def _matrix(motion: str, found: np.ndarray, middle: np.ndarray, reach: float) -> np.ndarray:
    """2x3 that displaces points as the parameters of `_common_motion` say."""
    x, y, *growth = (float(value) for value in found)
    if motion != "affine":
        stretch, turn = growth
        growth = [stretch, -turn, turn, stretch]
    linear = np.eye(2) + np.array(growth).reshape(2, 2) / reach
    return np.column_stack([linear, middle + (x, y) - linear @ middle])
