"""Warps IR images by fixed-point maps, computed once for each pair of image sizes.

Sizes are (height, width). `coverage` is uint8 HxW: 255 where IR is known, 0 where it is not,
with a soft edge between; None where the whole visible image is covered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Tuple

import cv2
import numpy as np

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.registration.camera_geometry import Size, checked_homography, stretch

Grid = Tuple[np.ndarray, np.ndarray]
"""Columns and rows of visible pixels, float64 of one shape."""
PixelMap = Tuple[np.ndarray, np.ndarray, np.ndarray]
"""IR x and y (float64) of visible pixels, and whether they have a place in the IR image (bool)."""

# Two cameras have one pair of sizes; a few more when a user changes formats at run time.
_CACHED_SIZES = 4


class MapRegistration(ABC):
    """The common part of modes that warp; keeps maps and coverage for each pair of sizes."""

    mode = ""
    coarse = False
    """Compute points on a grid (120 to 240 along the longer side) and interpolate between them."""

    def __init__(self, soft_edge_px: float) -> None:
        if not 0.0 <= soft_edge_px < 1000.0:
            raise ConfigurationError(f"soft_edge_px must be 0..1000 pixels, found {soft_edge_px}")
        self._soft_edge_px = soft_edge_px
        self._maps: dict[tuple[Size, Size], tuple] = {}
        self._backward: np.ndarray | None = None  # from corrected to calibrated pixels

    def corrected(self, correction: np.ndarray, vis_size: Size) -> MapRegistration:
        """Return a copy that maps a point to `correction` x where this registration maps it to x.

        The correction is 3x3 in pixels of visible images of `vis_size`, for which the copy is. A
        copy of a copy starts from the original.

        Raises:
            CalibrationError: the correction is singular or mirrors.
        """
        other = copy(self)
        other._maps = {}
        other._backward = np.linalg.inv(checked_homography(correction, vis_size))
        return other

    def prepare(self, ir_size: Size, vis_size: Size) -> None:
        """Compute the maps before the first `warp`; raises as `warp`."""
        self._maps_for((int(ir_size[0]), int(ir_size[1])), vis_size)

    def ir_points(
        self, ir_size: Size, vis_size: Size, columns: np.ndarray, rows: np.ndarray
    ) -> PixelMap:
        """Return where the visible pixels lie in the IR image."""
        x, y, leads = self._located(ir_size, vis_size, (columns, rows))
        return x, y, leads & _within(x, y, ir_size)

    def warp(self, ir: np.ndarray, vis_size: Size) -> tuple[np.ndarray, np.ndarray | None]:
        """Warp a uint8 HxW image to `vis_size`; return it and its coverage (do not write to it).

        The first call for a pair of sizes computes the maps, 0.1 s at 1500x1000.

        Raises:
            CalibrationError: the calibration does not fit images of these sizes.
            FrameError: `ir` is not uint8 HxW.
        """
        ir = grey_image(ir)
        whole, fraction, coverage = self._maps_for(ir.shape, vis_size)
        warped = cv2.remap(ir, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return warped, coverage

    def _maps_for(self, ir_size: Size, vis_size: Size) -> tuple:
        key = (ir_size, (int(vis_size[0]), int(vis_size[1])))
        if key not in self._maps:
            self._maps[key] = self._build(*key)
            if len(self._maps) > _CACHED_SIZES:
                del self._maps[next(iter(self._maps))]
        return self._maps[key]

    def _build(self, ir_size: Size, vis_size: Size) -> tuple:
        height, width = ir_size
        x, y, leads = self._everywhere(ir_size, vis_size)
        seen = leads & _within(x, y, ir_size)
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

    def _located(self, ir_size: Size, vis_size: Size, pixels: Grid) -> PixelMap:
        """Return `_ir_points` of corrected pixels."""
        if self._backward is None:
            return self._ir_points(ir_size, vis_size, pixels)
        columns, rows, before = through(self._backward, *pixels)
        x, y, leads = self._ir_points(ir_size, vis_size, (columns, rows))
        return x, y, leads & before

    def _everywhere(self, ir_size: Size, vis_size: Size) -> PixelMap:
        """`_located` for every visible pixel."""
        height, width = vis_size
        # Powers of two, which the fractions of `remap` hold exactly.
        step = max(step for step in (32, 16, 8, 4, 2, 1) if step * 120 <= max(*vis_size, 120))
        if step == 1 or not self.coarse:
            return self._located(ir_size, vis_size, pixel_grid(vis_size))
        grid = pixel_grid(((height + step - 2) // step + 1, (width + step - 2) // step + 1))
        x, y, leads = self._located(ir_size, vis_size, (step * grid[0], step * grid[1]))
        column, row = (axis.astype(np.float32) / step for axis in pixel_grid(vis_size))

        def between(values: np.ndarray) -> np.ndarray:
            # Numbers far outside are meaningless, and too large to interpolate.
            near = values.clip(-1e5, 1e5).astype(np.float32)
            return cv2.remap(near, column, row, cv2.INTER_LINEAR)

        return between(x), between(y), between(leads.astype(np.float32)) > 0.999

    @abstractmethod
    def _ir_points(self, ir_size: Size, vis_size: Size, pixels: Grid) -> PixelMap:
        """Return IR x and y of visible pixels, and whether a ray leads there."""

    def describe(self) -> dict[str, Any]:
        """Return mode and calibration, for people and reports."""
        return {"mode": self.mode}


class ResizeRegistration:
    """Both cameras see the same field of view: IR is stretched to the visible size."""

    mode = "resize"

    def warp(self, ir: np.ndarray, vis_size: Size) -> tuple[np.ndarray, np.ndarray | None]:
        """Resize a uint8 HxW image to `vis_size`, fully covered."""
        ir = grey_image(ir)
        height, width = vis_size
        if ir.shape == (height, width):
            return ir, None
        shrinks = height < ir.shape[0] and width < ir.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(ir, (width, height), interpolation=method), None

    def describe(self) -> dict[str, Any]:
        return {"mode": self.mode}


class StretchedRegistration(MapRegistration):
    """Stretches IR to the visible size as mode `resize` does, but can be corrected."""

    mode = "resize"

    def _ir_points(self, ir_size: Size, vis_size: Size, pixels: Grid) -> PixelMap:
        return through(stretch(vis_size, ir_size), *pixels)


def through(h: np.ndarray, x: np.ndarray, y: np.ndarray) -> PixelMap:
    """Map points by a homography; return x, y, and whether they lie before the camera."""
    # Forward maps have a positive scale throughout the IR image, and so have their inverses.
    scale = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    before = scale > 1e-9
    safe = np.where(before, scale, 1.0)
    return (
        (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / safe,
        (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / safe,
        before,
    )


def pixel_grid(size: Size) -> Grid:
    """Return columns and rows (float64 HxW) of the pixels of an image of `size`."""
    columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float64) for side in size[::-1]))
    return columns, rows


def fill_uncovered(ir: np.ndarray, vis_luma: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Blend IR with the visible luminance by `coverage`, all uint8 HxW.

    Fusing an image with itself gives that image, so pixels without IR stay visible.
    """
    images = (ir, vis_luma, coverage)
    if {(image.shape, image.dtype) for image in images} != {(ir.shape, np.dtype(np.uint8))}:
        found = ", ".join(f"{image.shape} {image.dtype}" for image in images)
        raise FrameError(f"fill_uncovered needs three uint8 HxW images of one size, found {found}")
    known = cv2.multiply(ir, coverage, scale=1.0 / 255.0)
    unknown = cv2.multiply(vis_luma, cv2.bitwise_not(coverage), scale=1.0 / 255.0)
    return cv2.add(known, unknown)


def _within(x: np.ndarray, y: np.ndarray, size: Size) -> np.ndarray:
    """Return where points lie in the image, up to the outer border of its pixels."""
    return (x >= -0.5) & (x <= size[1] - 0.5) & (y >= -0.5) & (y <= size[0] - 0.5)


def _soft_coverage(seen: np.ndarray, soft_edge_px: float) -> np.ndarray | None:
    """Return 255 inside and 0 outside, rising over `soft_edge_px` from the edge of the IR image.

    The border of the visible image does not count as an edge.
    """
    if seen.all():
        return None
    if soft_edge_px == 0.0:
        return np.where(seen, 255, 0).astype(np.uint8)
    inside = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.rint(255.0 * np.clip(inside / (soft_edge_px + 1.0), 0.0, 1.0)).astype(np.uint8)


def grey_image(ir: np.ndarray) -> np.ndarray:
    """Return uint8 HxW of HxW or HxWx1; FrameError for everything else."""
    if isinstance(ir, np.ndarray) and ir.ndim == 3 and ir.shape[2] == 1:
        ir = ir[:, :, 0]
    if not isinstance(ir, np.ndarray) or ir.ndim != 2 or ir.dtype != np.uint8 or ir.size == 0:
        found = f"{ir.shape} {ir.dtype}" if isinstance(ir, np.ndarray) else type(ir).__name__
        raise FrameError(
            f"registration needs a uint8 HxW IR image, found {found}; rescale raw frames first"
        )
    return ir


def size_name(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
