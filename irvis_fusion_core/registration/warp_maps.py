"""Warping IR by fixed-point maps that are computed once for each pair of image sizes.

Sizes are (height, width). `coverage` is uint8 HxW: 255 where IR is known, 0 where it is not,
with a soft edge between; None where the whole visible image is covered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from copy import copy
from typing import Any

import cv2
import numpy as np

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.registration.camera_geometry import checked_homography, size_change

# Two cameras have one pair of sizes; a few more when a user changes formats at run time.
_CACHED_SIZES = 4


class MapRegistration(ABC):
    """Common part of the modes that warp: maps and coverage for each pair of sizes, kept."""

    mode = ""
    coarse = False
    """Points are computed on a grid (of 120 to 240 points along the longer side), since each one
    is costly, and between them linearly."""

    def __init__(self, soft_edge_px: float) -> None:
        if not 0.0 <= soft_edge_px < 1000.0:
            raise ConfigurationError(f"soft_edge_px must be 0..1000 pixels, found {soft_edge_px}")
        self._soft_edge_px = soft_edge_px
        self._maps: OrderedDict = OrderedDict()
        self._correction: tuple[np.ndarray, tuple[int, int]] | None = None

    def corrected(self, correction: np.ndarray, vis_size: tuple[int, int]) -> MapRegistration:
        """A copy that moves the IR image on by `correction`, 3x3, in pixels of `vis_size`.

        What this registration puts at the visible pixel x the copy puts at `correction` x. A
        copy of a copy starts from the original: corrections do not add up.

        Raises:
            CalibrationError: the correction is singular or mirrors.
        """
        other = copy(self)
        other._maps = OrderedDict()
        backward = np.linalg.inv(checked_homography(correction, vis_size))
        other._correction = (backward, (int(vis_size[0]), int(vis_size[1])))
        return other

    def prepare(self, ir_size: tuple[int, int], vis_size: tuple[int, int]) -> None:
        """Compute the maps ahead of the first `warp`; raises CalibrationError as `warp` does."""
        key = ((int(ir_size[0]), int(ir_size[1])), (int(vis_size[0]), int(vis_size[1])))
        self._maps[key] = self._build(*key)

    def ir_points(
        self,
        ir_size: tuple[int, int],
        vis_size: tuple[int, int],
        columns: np.ndarray,
        rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IR x, IR y (float64) of the visible pixels (columns, rows), and whether they have one.

        What lies outside the IR image has none.
        """
        x, y, leads = self._located(ir_size, vis_size, columns, rows)
        return x, y, leads & _within(x, y, ir_size)

    def warp(
        self, ir: np.ndarray, vis_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 HxW -> uint8 of `vis_size`, and its coverage (shared: do not write to it).

        The first call for a pair of sizes computes the maps (0.1 s at 1500x1000).

        Raises:
            CalibrationError: the calibration does not fit images of these sizes.
            FrameError: `ir` is not uint8 HxW.
        """
        ir = grey_image(ir)
        key = (ir.shape, (int(vis_size[0]), int(vis_size[1])))
        if key not in self._maps:
            self._maps[key] = self._build(*key)
            while len(self._maps) > _CACHED_SIZES:
                self._maps.popitem(last=False)
        whole, fraction, coverage = self._maps[key]
        warped = cv2.remap(ir, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return warped, coverage

    def _build(self, ir_size: tuple[int, int], vis_size: tuple[int, int]) -> tuple:
        x, y, leads = self._everywhere(ir_size, vis_size)
        seen = leads & _within(x, y, ir_size)
        height, width = ir_size
        if not seen.any():
            raise CalibrationError(
                f"with this calibration IR of {size_name(ir_size)} lies nowhere in the visible "
                f"image of {size_name(vis_size)}; calibrate again, and check that a homography "
                "maps IR to visible pixels, not the reverse"
            )
        # Fixed-point maps hold 16-bit whole pixels: keep far-away points next to the border.
        x = np.where(seen, x, -1.0).clip(-1.0, width).astype(np.float32)
        y = np.where(seen, y, -1.0).clip(-1.0, height).astype(np.float32)
        whole, fraction = cv2.convertMaps(x, y, cv2.CV_16SC2)
        return whole, fraction, _soft_coverage(seen, self._soft_edge_px)

    def _located(
        self,
        ir_size: tuple[int, int],
        vis_size: tuple[int, int],
        columns: np.ndarray,
        rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `_ir_points`, corrected."""
        if self._correction is None:
            return self._ir_points(ir_size, vis_size, columns, rows)
        backward, size = self._correction
        if size != vis_size:
            to_now = size_change("visible", size, vis_size)
            backward = to_now @ backward @ np.linalg.inv(to_now)
        columns, rows, before = through(backward, columns, rows)
        x, y, leads = self._ir_points(ir_size, vis_size, columns, rows)
        return x, y, leads & before

    def _everywhere(
        self, ir_size: tuple[int, int], vis_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`_located` for every visible pixel."""
        height, width = vis_size
        # Powers of two, which the fractions of `remap` hold exactly.
        step = next(
            step for step in (32, 16, 8, 4, 2, 1) if step * 120 <= max(vis_size) or step == 1
        )
        if step == 1 or not self.coarse:
            return self._located(ir_size, vis_size, *pixel_grid(vis_size))
        grid = pixel_grid(((height + step - 2) // step + 1, (width + step - 2) // step + 1))
        x, y, leads = self._located(ir_size, vis_size, *(step * axis for axis in grid))
        column, row = (axis.astype(np.float32) / step for axis in pixel_grid(vis_size))

        def between(values: np.ndarray) -> np.ndarray:
            # Far outside the numbers grow beyond what can be interpolated, and mean nothing.
            near = values.clip(-1e5, 1e5).astype(np.float32)
            return cv2.remap(near, column, row, cv2.INTER_LINEAR)

        return between(x), between(y), between(leads.astype(np.float32)) > 0.999

    @abstractmethod
    def _ir_points(
        self,
        ir_size: tuple[int, int],
        vis_size: tuple[int, int],
        columns: np.ndarray,
        rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IR x, IR y (float64, of the shape of `columns`), and whether a ray leads there."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What is used, for people and reports."""


def through(
    h: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points through a homography, and whether they lie before the camera."""
    # The sign is meaningful: forward maps have a positive scale throughout the IR image, so
    # their inverses have one throughout its image.
    scale = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    before = scale > 1e-9
    safe = np.where(before, scale, 1.0)
    return (
        (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / safe,
        (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / safe,
        before,
    )


def pixel_grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows (float64 HxW) of the pixels of an image of `size`."""
    return np.meshgrid(np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64))


def fill_uncovered(ir: np.ndarray, vis_luma: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """IR where it is known, the visible luminance where it is not, blended by `coverage`.

    All uint8 HxW. A fusion of an image with itself is that image, so that pixels without IR
    stay visible-only, without a border.
    """
    shapes = {ir.shape, vis_luma.shape, coverage.shape}
    if len(shapes) != 1 or {ir.dtype, vis_luma.dtype, coverage.dtype} != {np.dtype(np.uint8)}:
        raise FrameError(
            "fill_uncovered needs three uint8 HxW images of one size, found "
            f"{ir.shape} {ir.dtype}, {vis_luma.shape} {vis_luma.dtype}, {coverage.shape} "
            f"{coverage.dtype}"
        )
    known = cv2.multiply(ir, coverage, scale=1.0 / 255.0)
    unknown = cv2.multiply(vis_luma, cv2.bitwise_not(coverage), scale=1.0 / 255.0)
    return cv2.add(known, unknown)


def _within(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Up to the outer border of the image's pixels, half a pixel beyond their centres."""
    height, width = size
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def _soft_coverage(seen: np.ndarray, soft_edge_px: float) -> np.ndarray | None:
    """255 inside, 0 outside, rising over `soft_edge_px` inwards from the edge of the IR image.

    The visible image's own border is no such edge.
    """
    if seen.all():
        return None
    if soft_edge_px == 0.0:
        return np.where(seen, 255, 0).astype(np.uint8)
    inside = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.rint(255.0 * np.clip(inside / (soft_edge_px + 1.0), 0.0, 1.0)).astype(np.uint8)


def grey_image(ir: np.ndarray) -> np.ndarray:
    """uint8 HxW from HxW or HxWx1; FrameError for everything else."""
    if isinstance(ir, np.ndarray) and ir.ndim == 3 and ir.shape[2] == 1:
        ir = ir[:, :, 0]
    if not isinstance(ir, np.ndarray) or ir.ndim != 2 or ir.dtype != np.uint8 or ir.size == 0:
        found = f"{ir.shape} {ir.dtype}" if isinstance(ir, np.ndarray) else type(ir).__name__
        raise FrameError(
            f"registration needs a uint8 HxW IR image, found {found}; rescale raw thermal "
            "frames first"
        )
    return ir


def size_name(size: tuple[int, int]) -> str:
    """Width x height, as people write sizes."""
    return f"{size[1]}x{size[0]}"
