"""Limits the change of a fused video from frame to frame to the change of its sources.

A network fuses each frame by itself: where the cameras' images stay the same, its results may
still differ slightly. Smoothing over time would smear motion. The limiter bounds the change of
each block of 8x8 pixels instead. Moving parts stay as they are, and the correction varies
smoothly between blocks, so that edges stay.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.frames import grey_code

BLOCK_PX = 8  # sensor noise averages out in such blocks, pumping brightness does not
GAP_S = 0.5  # after a longer gap the next frame counts as a first one
# Share of the suppressed change that passes in each frame: half of it within 35 frames, so that a
# still image catches up.
LEAK = 0.02
ROUNDING = 0.15  # grey levels by which rounding can move the mean of a block
_PASSES = 5
# Weights of a block and its neighbours in the mean of the interpolated correction.
_MEAN_OF_INTERPOLATED = np.array([0.125, 0.75, 0.125], np.float32)


class _Moment(NamedTuple):
    stamp_s: float
    shape: tuple[int, int]
    fused: np.ndarray  # means of the luminance by blocks, float32
    sources: list[np.ndarray]


class FlickerLimiter:
    """Bounds the change of fused frames, which are given one after the other by one thread.

    Raises:
        ConfigurationError: a negative `gap_s`, or a `leak` outside 0..1.
    """

    def __init__(self, gap_s: float = GAP_S, leak: float = LEAK) -> None:
        if not gap_s >= 0.0 or not 0.0 <= leak <= 1.0:
            raise ConfigurationError(
                f"expected gap_s of 0 or more and leak within 0..1, found {gap_s} and {leak}"
            )
        self._gap_s, self._leak = gap_s, leak
        self._before: _Moment | None = None

    @property
    def level(self) -> np.ndarray | None:
        """Means of the last fused frame by blocks, float32; None before the first frame."""
        return None if self._before is None else self._before.fused

    def follow(
        self,
        level: np.ndarray,
        ir: np.ndarray,
        vis: np.ndarray,
        stamp_s: float,
        order: str = "rgb",
    ) -> None:
        """Take a frame that was limited earlier and had this `level`; for others see `limit`."""
        grey = cv2.cvtColor(vis, grey_code(order))
        sources = [_block_means(ir.reshape(grey.shape)), _block_means(grey)]
        self._before = _Moment(stamp_s, grey.shape, level, sources)

    def reset(self) -> None:
        """Forget the last frame."""
        self._before = None

    def limit(
        self,
        fused: np.ndarray,
        ir: np.ndarray,
        vis: np.ndarray,
        stamp_s: float,
        order: str = "rgb",
    ) -> np.ndarray:
        """Correct `fused` in place where it changed more than both sources, and return it.

        First frames are left as they are; so are frames of another size, older ones, and ones
        more than `gap_s` after the last.

        Args:
            fused: uint8 [height, width, 3], contiguous and writable, of `order`.
            ir: uint8 [height, width] or [height, width, 1], as it was fused.
            vis: uint8 [height, width, 3] of `order`, "rgb" or "bgr".

        Raises:
            FrameError: the three differ in size.
            ConfigurationError: another `order`.
        """
        code = grey_code(order)
        shape = (fused.shape[0], fused.shape[1])
        if ir.shape[:2] != shape or vis.shape[:2] != shape:
            raise FrameError(
                f"expected frames of one size, found {shape}, {ir.shape[:2]} and {vis.shape[:2]}"
            )
        if min(shape) < BLOCK_PX:
            return fused
        level, vis_means = (_block_means(cv2.cvtColor(image, code)) for image in (fused, vis))
        sources = [_block_means(ir.reshape(shape)), vis_means]
        before = self._before
        if before and before.shape == shape and 0.0 <= stamp_s - before.stamp_s <= self._gap_s:
            correction, level = self._bound(level, sources, before)
            _add(fused, correction)
        self._before = _Moment(stamp_s, shape, level, sources)
        return fused

    def _bound(
        self, level: np.ndarray, sources: list[np.ndarray], before: _Moment
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the correction at each block's centre, and the corrected means.

        Both are in grey levels and not rounded: the leak is often less than one.
        """
        changes = [np.abs(now - old) for now, old in zip(sources, before.sources)]
        room = np.maximum(np.maximum(*changes) - ROUNDING, 0.0)
        room += self._leak * np.abs(level - before.fused)
        lowest, highest = before.fused - room, before.fused + room
        total = np.zeros_like(level)
        # Interpolation mixes neighbours: a few passes converge.
        for _ in range(_PASSES):
            step = np.clip(level, lowest, highest) - level
            total += step
            level = level + cv2.sepFilter2D(
                step, -1, *[_MEAN_OF_INTERPOLATED] * 2, borderType=cv2.BORDER_REPLICATE
            )
        return total, level


def _block_means(plane: np.ndarray) -> np.ndarray:
    """Return the means of whole blocks of a uint8 H x W image, float32 H/8 x W/8."""
    rows, columns = plane.shape[0] // BLOCK_PX, plane.shape[1] // BLOCK_PX
    whole = plane[: rows * BLOCK_PX, : columns * BLOCK_PX]
    # All first lines of blocks in one row, all second ones in the next, and so on: OpenCV adds
    # such rows eight times faster than NumPy adds axes.
    lines = whole.reshape(rows, BLOCK_PX, -1).swapaxes(0, 1).reshape(BLOCK_PX, -1)
    sums = cv2.reduce(lines, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    # Exact in float32. In float64, states written as float32 would not be those of the run.
    means = sums.reshape(rows, columns, BLOCK_PX).sum(2, dtype=np.float32)
    return means * np.float32(1.0 / BLOCK_PX**2)


def _add(fused: np.ndarray, correction: np.ndarray) -> None:
    """Interpolate the correction between block centres, round it, and add it to all channels."""
    if np.abs(correction).max() < 0.5:  # would be rounded to nothing everywhere
        return
    height, width = fused.shape[:2]
    rows, columns = correction.shape
    size = (columns * BLOCK_PX, rows * BLOCK_PX)
    steps = cv2.resize(np.clip(correction, -255.0, 255.0), size)
    below, right = height - steps.shape[0], width - steps.shape[1]
    if below or right:
        steps = cv2.copyMakeBorder(steps, 0, below, 0, right, cv2.BORDER_REPLICATE)
    # Two 8-bit steps, in which OpenCV rounds and saturates, are faster than one in 16 bits.
    up, down = cv2.max(steps, 0.0), cv2.min(steps, 0.0)
    for part, change in ((up, cv2.add), (down, cv2.subtract)):
        change(fused, cv2.cvtColor(cv2.convertScaleAbs(part), cv2.COLOR_GRAY2RGB), dst=fused)
