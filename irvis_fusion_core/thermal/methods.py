"""The settings of thermal rescaling, and its methods, one class each.

A new method is a class here and a row of `METHODS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Tuple

import numpy as np

from irvis_fusion_core.errors import ConfigurationError, expect_one_of
from irvis_fusion_core.thermal.limits import SteadyLimits, field_limits, frame_limits

WINDOW_UNITS = ("counts", "celsius", "kelvin")
RAW_UNITS = ("auto", "counts", "centikelvin", "kelvin", "celsius")

_ZERO_CELSIUS_K = 273.15
# The smallest window: without it, a scene without contrast would become an image of noise.
_LEAST_SPAN = {"counts": 64.0, "centikelvin": 200.0, "kelvin": 2.0, "celsius": 2.0}
_LEAST_SPAN_8_BIT = 16.0


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
    usable: np.ndarray  # bool HxW
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
        high = np.maximum(high, low + np.float32(span))
        return self._steady.update(low, high, elapsed_s)

    def reset(self) -> None:
        self._steady.reset()

    def _read(self, sample: Sample) -> Limits:
        return frame_limits(sample.values[sample.usable], *self._percents)


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
        if low is None or high is None or not np.isfinite([low, high]).all() or low >= high:
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
