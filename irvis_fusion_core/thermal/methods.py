"""The settings of thermal rescaling, and its methods, which choose what becomes black and white.

Limits are robust percentiles of the frame or of a grid of fields, low-passed over time: float32
raw units, of shape () or (fields down, fields across). Per-frame minimum and maximum would pump.
A new method is a class here and a row of `METHODS`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Tuple

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError, expect_one_of

WINDOW_UNITS = ("counts", "celsius", "kelvin")
RAW_UNITS = ("auto", "counts", "centikelvin", "kelvin", "celsius")

_ZERO_CELSIUS_K = 273.15
# The smallest window: without it, a scene without contrast would become an image of noise.
_LEAST_SPAN = {"counts": 64.0, "centikelvin": 200.0, "kelvin": 2.0, "celsius": 2.0}
_LEAST_SPAN_8_BIT = 16.0
# Overlap of two windows, as a share of the smaller one, below which the scene counts as new ...
_NEW_SCENE_OVERLAP = 0.25
# ... after this number of frames in a row: one black or torn frame must not remap the image.
_NEW_SCENE_FRAMES = 3

# Least window of a field as a share of the whole window: a flat sky must not become an image of
# sensor noise.
_LEAST_FIELD_SPAN = 0.35
# Weight of field-wise limits against those of the whole frame, 0..1.
_FIELD_LOCALITY = 0.6


@dataclass(frozen=True)
class ThermalOptions:
    """The settings of one `ThermalRescale`.

    Args:
        method: a name of `thermal.METHODS`.
        low_percent: share of pixels that becomes black, 0..100.
        high_percent: share below those that become white.
        smoothing_s: time constant of the limits, seconds; 0 rescales every frame alone.
        window_low: black of method "window", in `window_unit`.
        window_high: its white.
        window_unit: "counts" (raw values as they come), "celsius" or "kelvin".
        raw_unit: unit of the raw values: "counts", "centikelvin", "kelvin", "celsius". "auto":
            integers are counts (centikelvin where the window is a temperature), floats are
            kelvin where the median of the first frame is above 150, else Celsius.
        invert: True for black-hot cameras; turns the result so that hot is white.
        clahe_clip: clip limit of CLAHE on the result, 0 for none (2 is usual). It adds local
            contrast, costs 1 ms and some steadiness.
        dead_pixels: repair single dead pixels.
        columns: remove fixed column noise.
        saturated: raw value from which a pixel counts as saturated (16383 for 14-bit cameras);
            None is the maximum of the type, and no value of an 8-bit frame.
        fields: fields along each side for method "fieldwise", 2..16.
        max_invalid_share: largest share of NaN and infinite values, 0..1; a frame with more is
            unusable.

    Raises:
        ConfigurationError: a setting has an impossible value.
    """

    method: str = "percentile"
    low_percent: float = 0.5
    high_percent: float = 99.5
    smoothing_s: float = 2.0
    window_low: float | None = None
    window_high: float | None = None
    window_unit: str = "counts"
    raw_unit: str = "auto"
    invert: bool = False
    clahe_clip: float = 0.0
    dead_pixels: bool = False
    columns: bool = False
    saturated: float | None = None
    fields: int = 8
    max_invalid_share: float = 0.5

    def __post_init__(self) -> None:
        expect_one_of("thermal method", self.method, METHODS)
        expect_one_of("window_unit", self.window_unit, WINDOW_UNITS)
        expect_one_of("raw_unit", self.raw_unit, RAW_UNITS)
        if not 0.0 <= self.low_percent < self.high_percent <= 100.0:
            raise ConfigurationError(
                "low_percent and high_percent must satisfy 0 <= low < high <= 100, found "
                f"{self.low_percent} and {self.high_percent}"
            )
        if not 0.0 <= self.smoothing_s < float("inf"):
            raise ConfigurationError(f"smoothing_s must be >= 0 seconds, found {self.smoothing_s}")
        if self.clahe_clip < 0.0 or not 2 <= self.fields <= 16:
            found = f"{self.clahe_clip} and {self.fields}"
            raise ConfigurationError(f"clahe_clip must be >= 0 and fields 2..16, found {found}")
        if not 0.0 <= self.max_invalid_share <= 1.0:
            found = str(self.max_invalid_share)
            raise ConfigurationError(f"max_invalid_share must be 0..1, found {found}")


class Sample(NamedTuple):
    """A subsampled frame."""

    values: np.ndarray  # uint8 or float32 HxW; unusable ones hold the median of the others
    usable: np.ndarray | None  # bool HxW; None where all are
    unit: str  # "counts", "centikelvin", "kelvin" or "celsius"
    is_8_bit: bool  # the raw frame was uint8


Limits = Tuple[np.ndarray, np.ndarray]
"""Raw values that become black and white: float32, shape () or (fields down, across)."""


class Method(ABC):
    """Chooses the limits of each frame."""

    passes_through = False
    """Frames must be uint8 and keep their values: `limits` is not called."""
    by_place = False
    """Limits differ from place to place, so that no table of grey values exists for a frame."""
    in_degrees = False
    """The limits are temperatures: integer frames must be radiometric."""

    def __init__(self, options: ThermalOptions) -> None:
        self._options = options

    @abstractmethod
    def limits(self, sample: Sample, elapsed_s: float) -> Limits:
        """Return the limits for a frame that comes `elapsed_s` after the last one."""

    def reset(self) -> None:
        """Forget earlier frames."""
        return


class Percentile(Method):
    """Robust limits of the whole frame, low-passed over time."""

    def __init__(self, options: ThermalOptions) -> None:
        super().__init__(options)
        self._percents = (options.low_percent, options.high_percent)
        self._steady = SteadyLimits(options.smoothing_s)

    def limits(self, sample: Sample, elapsed_s: float) -> Limits:
        low, high = self._read(sample)
        span = _LEAST_SPAN_8_BIT if sample.is_8_bit else _LEAST_SPAN[sample.unit]
        least = np.asarray(span, np.float32)
        if not sample.is_8_bit:  # of huge values the next number is further away than the span
            least = np.maximum(least, 4.0 * np.spacing(np.abs(low)))
        high = np.maximum(high, low + least)
        return self._steady.update(low, high, elapsed_s)

    def reset(self) -> None:
        self._steady.reset()

    def _read(self, sample: Sample) -> Limits:
        values = sample.values if sample.usable is None else sample.values[sample.usable]
        return frame_limits(values, *self._percents)


class Fieldwise(Percentile):
    """Limits for each field of a grid, low-passed over time: more local contrast."""

    by_place = True

    def _read(self, sample: Sample) -> Limits:
        fields = self._options.fields
        if min(sample.values.shape) < fields:
            return super()._read(sample)
        return field_limits(sample.values, *self._percents, fields=fields)


class Window(Method):
    """Fixed limits, in counts or degrees."""

    def __init__(self, options: ThermalOptions) -> None:
        super().__init__(options)
        low, high, unit = options.window_low, options.window_high, options.window_unit
        if (
            low is None
            or high is None
            or not np.isfinite([low, high]).all()
            or np.float32(low) >= np.float32(high)
        ):
            raise ConfigurationError(
                f"thermal method 'window' needs finite window_low < window_high in {unit}, found "
                f"{low} and {high}"
            )
        if unit != "counts" and options.raw_unit == "counts":
            raise ConfigurationError(
                f"window_unit {unit!r} needs radiometric frames, but raw_unit says 'counts'; give "
                "the window in counts or set raw_unit to centikelvin, kelvin or celsius"
            )
        self._window = (low, high)
        self.in_degrees = unit != "counts"

    def limits(self, sample: Sample, elapsed_s: float) -> Limits:
        low, high = (self._in_raw_unit(limit, sample.unit) for limit in self._window)
        return np.asarray(low, np.float32), np.asarray(high, np.float32)

    def _in_raw_unit(self, limit: float, raw_unit: str) -> float:
        if not self.in_degrees:
            return limit
        kelvin = limit + (_ZERO_CELSIUS_K if self._options.window_unit == "celsius" else 0.0)
        if raw_unit == "centikelvin":
            return 100.0 * kelvin
        return kelvin - _ZERO_CELSIUS_K if raw_unit == "celsius" else kelvin


class Unchanged(Method):
    """uint8 frames as they are."""

    passes_through = True

    def limits(self, sample: Sample, elapsed_s: float) -> Limits:
        return np.asarray(0.0, np.float32), np.asarray(255.0, np.float32)


METHODS: dict[str, type[Method]] = {
    "percentile": Percentile,
    "window": Window,
    "fieldwise": Fieldwise,
    "none": Unchanged,
}


def frame_limits(
    sample: np.ndarray, low_percent: float, high_percent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return nearest-rank percentiles of a float32 or uint8 sample, as float32."""
    flat = sample.ravel()
    ranks = [round(percent / 100.0 * (flat.size - 1)) for percent in (low_percent, high_percent)]
    if sample.dtype == np.uint8:  # counting takes a tenth of the time
        counts = cv2.calcHist([flat[np.newaxis]], [0], None, [256], [0.0, 256.0])
        up_to = np.cumsum(counts, dtype=np.int64)
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
        held, read = self._limits.value, np.array([low, high])
        if held is not None and _is_another_scene(held, read):
            self._strange_frames += 1
            if self._strange_frames < _NEW_SCENE_FRAMES:
                return held[0], held[1]
            self.reset()
        self._strange_frames = 0
        low, high = self._limits.update(read, elapsed_s)
        return np.asarray(low), np.asarray(high)


def _is_another_scene(held: np.ndarray, read: np.ndarray) -> bool:
    if held.ndim == 1:  # of the whole frame
        lows, highs = zip(held.tolist(), read.tolist())
    else:
        lows, highs = zip(*([float(limit.mean()) for limit in limits] for limits in (held, read)))
    overlap = min(highs) - max(lows)
    smaller, larger = sorted(high - low for low, high in zip(lows, highs))
    # A window much narrower than the held one is another scene too, inside it or not.
    return overlap < _NEW_SCENE_OVERLAP * smaller or smaller < 0.1 * larger
