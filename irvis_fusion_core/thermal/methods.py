"""The methods that choose which raw values become black and white, one class each.

A new method is a class here and a row of `METHODS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.thermal.limits import SteadyLimits, field_limits, frame_limits
from irvis_fusion_core.thermal.options import ThermalOptions, expect_one_of

_ZERO_CELSIUS_K = 273.15
# The smallest window: without it, a scene without contrast would become an image of noise.
_LEAST_SPAN = {"counts": 64.0, "centikelvin": 200.0, "kelvin": 2.0, "celsius": 2.0}
_LEAST_SPAN_8_BIT = 16.0


class Sample(NamedTuple):
    """A subsampled frame."""

    values: np.ndarray  # uint8 or float32 HxW; unusable ones hold the median of the others
    usable: np.ndarray  # bool HxW
    unit: str  # "counts", "centikelvin", "kelvin" or "celsius"
    is_8_bit: bool  # the raw frame was uint8


class Limits(NamedTuple):
    """Raw values that become black and white: float32, shape () or (fields down, across)."""

    low: np.ndarray
    high: np.ndarray


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
        return Limits(*self._steady.update(low, high, elapsed_s))

    def reset(self) -> None:
        self._steady.reset()

    def _read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        return frame_limits(sample.values[sample.usable], *self._percents)


class Fieldwise(Percentile):
    """Limits for each field of a grid, low-passed over time: more local contrast."""

    by_place = True

    def _read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
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
        return Limits(np.asarray(low, np.float32), np.asarray(high, np.float32))

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
        return Limits(np.asarray(0.0, np.float32), np.asarray(255.0, np.float32))


METHODS: dict[str, type[Method]] = {
    "percentile": Percentile,
    "window": Window,
    "fieldwise": Fieldwise,
    "none": Unchanged,
}


def make_method(options: ThermalOptions) -> Method:
    """Build the method that `options.method` names; ConfigurationError if that is impossible."""
    expect_one_of("method", options.method, tuple(METHODS))
    return METHODS[options.method](options)
