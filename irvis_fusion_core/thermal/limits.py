"""The raw values that become black and white, steady over time.

Robust percentiles of the frame or of a grid of fields, low-passed over time: float32 raw units, of
shape () or (fields down, fields across). Per-frame minimum and maximum would pump.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

# Overlap of two windows, as a share of the smaller one, below which the scene counts as new ...
_NEW_SCENE_OVERLAP = 0.25
# ... after this number of frames in a row: one black or torn frame must not remap the image.
_NEW_SCENE_FRAMES = 3

# Least window of a field as a share of the whole window: a flat sky must not become an image of
# sensor noise.
_LEAST_FIELD_SPAN = 0.35
# Weight of field-wise limits against those of the whole frame, 0..1.
_FIELD_LOCALITY = 0.6


def frame_limits(
    sample: np.ndarray, low_percent: float, high_percent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return nearest-rank percentiles of a float32 or uint8 sample, as float32."""
    flat = sample.ravel()
    ranks = np.rint(np.array([low_percent, high_percent]) / 100.0 * (flat.size - 1)).astype(int)
    if sample.dtype == np.uint8:  # counting takes a tenth of the time
        up_to = np.cumsum(np.bincount(flat, minlength=256))
        low, high = np.searchsorted(up_to, ranks, side="right").astype(np.float32)
        return np.asarray(low), np.asarray(high)
    parted = np.partition(flat, ranks)
    return np.asarray(parted[ranks[0]]), np.asarray(parted[ranks[1]])


def field_limits(
    sample: np.ndarray, low_percent: float, high_percent: float, fields: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits for each of fields x fields cells of a float32 HxW sample.

    After Fieldscale (Gil, Jeon and Kim, RA-L 2024): each region has its own window, extremes of
    single regions are reduced, and the limits vary smoothly. Simpler rules keep it below 1 ms.
    """
    whole_low, whole_high = frame_limits(sample, low_percent, high_percent)
    rows, columns = sample.shape[0] // fields, sample.shape[1] // fields
    cells = sample[: rows * fields, : columns * fields]
    cells = cells.reshape(fields, rows, fields, columns).swapaxes(1, 2)
    cells = cells.reshape(fields, fields, rows * columns)
    percents = np.array([low_percent, high_percent])
    ranks = np.rint(percents / 100.0 * (rows * columns - 1)).astype(int)
    parted = np.partition(cells, ranks, axis=2)
    low, high = (parted[:, :, rank].copy() for rank in ranks)

    # A field hotter (colder) than its neighbours spreads its limit to them, so that a warm object
    # gets no dark halo at the border of its field.
    neighbours = np.ones((3, 3), np.uint8)
    high = cv2.GaussianBlur(cv2.dilate(high, neighbours), (0, 0), 1.0)
    low = cv2.GaussianBlur(cv2.erode(low, neighbours), (0, 0), 1.0)
    low = whole_low + _FIELD_LOCALITY * (low - whole_low)
    high = whole_high + _FIELD_LOCALITY * (high - whole_high)
    lacking = np.maximum(_LEAST_FIELD_SPAN * (whole_high - whole_low) - (high - low), 0.0) / 2.0
    return low - lacking, high + lacking


class LowPass:
    """Exponential mean of float32 arrays: reaches 63 % of a step after `smoothing_s`.

    The first value is taken unchanged; with `smoothing_s` 0 every value is.
    """

    def __init__(self, smoothing_s: float) -> None:
        self._smoothing_s = smoothing_s
        self.value: np.ndarray | None = None

    def reset(self) -> None:
        self.value = None

    def update(self, reading: np.ndarray, elapsed_s: float) -> np.ndarray:
        """Take a reading `elapsed_s` after the last one; return the mean."""
        if self.value is None or self._smoothing_s <= 0.0:
            self.value = reading
        else:
            step = 1.0 - math.exp(-max(elapsed_s, 0.0) / self._smoothing_s)
            self.value = np.asarray(self.value + step * (reading - self.value), np.float32)
        return self.value


class SteadyLimits:
    """Low-passes limits over time; follows a new scene immediately."""

    def __init__(self, smoothing_s: float) -> None:
        self._limits = LowPass(smoothing_s)
        self._strange_frames = 0

    def reset(self) -> None:
        """Forget the past: the next reading is taken unchanged."""
        self._limits.reset()
        self._strange_frames = 0

    def update(
        self, low: np.ndarray, high: np.ndarray, elapsed_s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take one reading, `elapsed_s` after the last one; return the limits to use."""
        held, read = self._limits.value, np.stack([low, high])
        if held is not None and _is_another_scene(held, read):
            self._strange_frames += 1
            if self._strange_frames < _NEW_SCENE_FRAMES:
                return held[0], held[1]
            self.reset()
        self._strange_frames = 0
        low, high = self._limits.update(read, elapsed_s)
        return np.asarray(low), np.asarray(high)


def _is_another_scene(held: np.ndarray, read: np.ndarray) -> bool:
    lows, highs = zip(*([float(limit.mean()) for limit in limits] for limits in (held, read)))
    overlap = min(highs) - max(lows)
    smaller, larger = sorted(high - low for low, high in zip(lows, highs))
    # A window much narrower than the held one is another scene too, inside it or not.
    return overlap < _NEW_SCENE_OVERLAP * smaller or smaller < 0.1 * larger
