"""Raw thermal frames to 8 bit, steady over time: one function for training, tools and node.

    rescale = ThermalRescale(method="percentile", smoothing_s=2.0)
    grey = rescale(raw)                    # uint8 HxW

Raw frames are what cameras deliver: uint8 (camera's own gain control), uint16 (14- or 16-bit
counts, or centikelvin on radiometric Lepton and Boson: 29315 is 20 degC), float32 temperature.
"""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.thermal.limits import LowPass, SteadyLimits, field_limits, frame_limits
from irvis_fusion_core.thermal.repair import column_offsets, repair_dead_pixels
from irvis_fusion_core.thermal.stretch import Stretch

METHODS = ("percentile", "window", "fieldwise", "none")
WINDOW_UNITS = ("counts", "celsius", "kelvin")
RAW_UNITS = ("auto", "counts", "centikelvin", "kelvin", "celsius")

_ZERO_CELSIUS_K = 273.15
# No thermal camera looks at scenes whose median is above 150 degC or below -123 degC.
_KELVIN_FROM = 150.0
# Every fourth pixel of every fourth row: 20 480 values at 640x512 place a percentile to 0.1 %.
_SAMPLE_STEP = 4
# The least window, so that a scene without contrast does not become an image of noise.
_LEAST_SPAN = {"counts8": 16.0, "counts": 64.0, "centikelvin": 200.0, "kelvin": 2.0}
_LEAST_SPAN["celsius"] = _LEAST_SPAN["kelvin"]
# Without stamps, frames are taken to follow one another at this rate.
_ASSUMED_PERIOD_S = 1.0 / 30.0
# After a longer pause the past says nothing about the scene.
_LONGEST_PAUSE_S = 5.0

_ALL_OF_8_BITS = np.arange(256, dtype=np.float32)[np.newaxis]
"""What an 8-bit frame can hold: rescaled once, it is the table for the whole frame."""


class ThermalRescale:
    """Maps raw thermal frames HxW to uint8 HxW; remembers its limits from frame to frame.

    Args:
        method: "percentile": robust limits of the frame, low-passed over time. "window": fixed
            limits. "fieldwise": limits of 8x8 fields, more local contrast, low-passed.
            "none": uint8 frames as they are; refuses every other type.
        low_percent, high_percent: shares of pixels that become black and white (0..100).
        smoothing_s: time constant of the limits, seconds; 0 rescales every frame alone.
        window_low, window_high: limits for "window", in `window_unit`.
        window_unit: "counts" (raw values as they come), "celsius" or "kelvin".
        raw_unit: what raw values mean: "counts", "centikelvin", "kelvin", "celsius". "auto":
            integers are counts (centikelvin where the window is a temperature), floats are
            kelvin where the median of the first frame is above 150, else Celsius.
        invert: black-hot cameras; turns the result so that hot is white.
        clahe_clip: clip limit of CLAHE afterwards, 0 for none (2 is usual). Local contrast that
            depends on the neighbourhood: costs 1 ms and some steadiness.
        dead_pixels, columns: repair single dead pixels, fixed column noise.
        saturated: raw value from which on a pixel is saturated, in counts; the type's maximum
            where None (give 16383 for 14 bit).

    Bad values never move the limits. NaN and -inf come out as 0, which a fusion reads as "nothing
    warm here"; saturated values and +inf come out as the hottest, for they may be a fire. In
    uint16 frames 0 means "no data" and is treated alike.

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    def __init__(
        self,
        method: str = "percentile",
        low_percent: float = 0.5,
        high_percent: float = 99.5,
        smoothing_s: float = 2.0,
        window_low: float | None = None,
        window_high: float | None = None,
        window_unit: str = "counts",
        raw_unit: str = "auto",
        invert: bool = False,
        clahe_clip: float = 0.0,
        dead_pixels: bool = False,
        columns: bool = False,
        saturated: float | None = None,
        fields: int = 8,
    ) -> None:
        _one_of("method", method, METHODS)
        _one_of("window_unit", window_unit, WINDOW_UNITS)
        _one_of("raw_unit", raw_unit, RAW_UNITS)
        if not 0.0 <= low_percent < high_percent <= 100.0:
            raise ConfigurationError(
                "low_percent and high_percent must satisfy 0 <= low < high <= 100, found "
                f"{low_percent} and {high_percent}"
            )
        if not 0.0 <= smoothing_s < float("inf"):
            raise ConfigurationError(f"smoothing_s must be 0 or more seconds, found {smoothing_s}")
        if clahe_clip < 0.0 or not 2 <= fields <= 16:
            raise ConfigurationError(
                f"clahe_clip must be >= 0 and fields 2..16, found {clahe_clip} and {fields}"
            )
        if method == "window":
            _check_window(window_low, window_high, window_unit, raw_unit)
        self._method = method
        self._percents = (low_percent, high_percent)
        # Both are numbers where they are used: `_check_window` saw to it.
        self._window = (window_low or 0.0, window_high or 0.0)
        self._window_unit = window_unit
        self._raw_unit = raw_unit
        self._invert = invert
        self._clahe = cv2.createCLAHE(clahe_clip, (8, 8)) if clahe_clip > 0.0 else None
        self._dead_pixels, self._columns = dead_pixels, columns
        self._saturated = saturated
        self._fields = fields
        self._works_on_neighbours = dead_pixels or columns or method == "fieldwise"
        self._steady = SteadyLimits(smoothing_s)
        self._stretch = Stretch()
        self._steady_columns = LowPass(smoothing_s)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame sets the limits alone (new bag, other camera)."""
        self._steady.reset()
        self._steady_columns.reset()
        self._limits: tuple[np.ndarray, np.ndarray] | None = None
        self._stamp_s: float | None = None
        self._kind: tuple | None = None
        self._unit: str | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Raw values that became black and white in the last frame (field-wise: their means)."""
        if self._limits is None:
            return None
        return float(np.mean(self._limits[0])), float(np.mean(self._limits[1]))

    def __call__(self, raw: np.ndarray, stamp_s: float | None = None) -> np.ndarray:
        """Rescale one frame; `stamp_s` is its time in seconds, 30 Hz is assumed without.

        Raises:
            FrameError: not a thermal frame, or without a single usable pixel.
        """
        raw = _checked(raw)
        if self._method == "none":
            if raw.dtype != np.uint8:
                raise FrameError(
                    f"thermal method 'none' passes uint8 frames only, found {raw.dtype}; "
                    "choose 'percentile', 'fieldwise' or 'window'"
                )
            return self._finish(raw.copy())
        elapsed_s = self._advance(raw, stamp_s)
        if raw.dtype == np.uint8 and not self._works_on_neighbours:
            self._limits = self._find_limits(raw, raw, elapsed_s)
            return self._finish(cv2.LUT(raw, self._stretch(_ALL_OF_8_BITS, *self._limits)))
        frame = self._frame
        np.copyto(frame, raw)
        not_a_number = self._bad_values(raw, frame)
        if self._dead_pixels:
            frame = repair_dead_pixels(frame)
        if self._columns:
            frame = frame - self._steady_columns.update(column_offsets(frame), elapsed_s)
        self._limits = self._find_limits(raw, frame, elapsed_s)
        grey = self._stretch(frame, *self._limits)
        return self._finish(grey, not_a_number)

    def _advance(self, raw: np.ndarray, stamp_s: float | None) -> float:
        """Time since the last frame; anew on another size or type, a jump back, a long pause."""
        elapsed_s = _ASSUMED_PERIOD_S
        if stamp_s is not None and self._stamp_s is not None:
            elapsed_s = stamp_s - self._stamp_s
        # Counts and temperatures share no limits and no unit.
        kind = (raw.shape, raw.dtype)
        if self._kind not in (None, kind) or not 0.0 <= elapsed_s <= _LONGEST_PAUSE_S:
            self.reset()
            elapsed_s = _ASSUMED_PERIOD_S
        if self._kind is None:
            # Buffers are kept: fresh pages for each frame cost more than the arithmetic.
            self._kind = kind
            self._frame = np.empty(raw.shape, np.float32)
        self._stamp_s = stamp_s
        return elapsed_s

    def _bad_values(self, raw: np.ndarray, frame: np.ndarray) -> np.ndarray | None:
        """Replace values that are not finite in `frame`; return where there was none at all."""
        if raw.dtype == np.uint16:
            return None if raw.all() else raw == 0
        if raw.dtype == np.uint8 or bool(np.isfinite(frame).all()):
            return None
        finite = np.isfinite(frame)
        if not finite.any():
            raise FrameError("the thermal frame holds no finite value (all NaN or infinite)")
        cold, hot = float(frame[finite].min()), float(frame[finite].max())
        hottest = np.isposinf(frame)
        frame[~finite] = cold
        frame[hottest] = hot
        return ~finite & ~hottest

    def _find_limits(
        self, raw: np.ndarray, frame: np.ndarray, elapsed_s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        step = _SAMPLE_STEP if min(raw.shape) >= 128 else 1
        raw_sample, sample = raw[::step, ::step], frame[::step, ::step]
        good = self._usable(raw_sample)
        if not good.all():
            if not good.any():
                raise FrameError(
                    "the thermal frame holds no usable value: every pixel is NaN, saturated or 0"
                )
            # A bad pixel takes the median of the good ones: it moves no percentile outwards.
            sample = np.where(good, sample, np.median(sample[good])).astype(np.float32)
        if self._unit is None:
            self._unit = self._meaning(raw.dtype, sample)
        if self._method == "window":
            return self._fixed_window()
        usable = sample[good]
        if self._method == "fieldwise" and min(sample.shape) >= self._fields:
            low, high = field_limits(sample, *self._percents, fields=self._fields)
        else:
            low, high = frame_limits(usable, *self._percents)
        unit = "counts8" if raw.dtype == np.uint8 else self._unit
        high = np.maximum(high, low + np.float32(_LEAST_SPAN[unit]))
        return self._steady.update(low, high, elapsed_s)

    def _usable(self, raw: np.ndarray) -> np.ndarray:
        if raw.dtype == np.uint8:
            return np.ones(raw.shape, bool)
        if raw.dtype == np.uint16:
            ceiling = 65535 if self._saturated is None else self._saturated
            return (raw > 0) & (raw < ceiling)
        usable = np.isfinite(raw)
        return usable if self._saturated is None else usable & (raw < self._saturated)

    def _meaning(self, dtype: np.dtype, sample: np.ndarray) -> str:
        if self._raw_unit != "auto":
            return self._raw_unit
        if np.issubdtype(dtype, np.floating):
            return "kelvin" if float(np.median(sample)) > _KELVIN_FROM else "celsius"
        temperature = self._method == "window" and self._window_unit != "counts"
        if temperature and dtype == np.uint8:
            raise FrameError(
                "a window in degrees needs radiometric frames (uint16 centikelvin or float), "
                "found uint8; set window_unit to 'counts'"
            )
        return "centikelvin" if temperature else "counts"

    def _fixed_window(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self._window
        if self._window_unit != "counts":
            in_celsius = self._window_unit == "celsius"
            kelvin = [limit + (_ZERO_CELSIUS_K if in_celsius else 0.0) for limit in (low, high)]
            if self._unit == "centikelvin":
                low, high = (100.0 * limit for limit in kelvin)
            elif self._unit == "celsius":
                low, high = (limit - _ZERO_CELSIUS_K for limit in kelvin)
            else:
                low, high = kelvin
        return np.asarray(low, np.float32), np.asarray(high, np.float32)

    def _finish(self, grey: np.ndarray, not_a_number: np.ndarray | None = None) -> np.ndarray:
        if self._invert:
            grey = cv2.bitwise_not(grey)
        if self._clahe is not None:
            grey = self._clahe.apply(grey)
        if not_a_number is not None:
            grey[not_a_number] = 0
        return grey


def _checked(raw: np.ndarray) -> np.ndarray:
    """HxW in one of the supported types; a trailing channel of one is taken off."""
    if not isinstance(raw, np.ndarray):
        raise FrameError(f"a thermal frame must be a numpy array, found {type(raw).__name__}")
    if raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[:, :, 0]
    if raw.ndim != 2 or raw.size == 0:
        raise FrameError(
            f"a thermal frame must be HxW or HxWx1, found shape {raw.shape}; false-colour "
            "frames carry no temperature: set the camera to raw or white-hot output"
        )
    # Native byte order is what numpy compares and OpenCV assumes.
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if raw.dtype in (np.uint8, np.uint16, np.float32):
        return raw
    if raw.dtype == np.float64:
        return raw.astype(np.float32)
    raise FrameError(
        f"a thermal frame must be uint8, uint16 or float32, found {raw.dtype}; convert it first"
    )


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}, found {value!r}")


def _check_window(low: float | None, high: float | None, unit: str, raw_unit: str) -> None:
    if low is None or high is None or not np.isfinite([low, high]).all() or low >= high:
        raise ConfigurationError(
            "thermal method 'window' needs finite window_low < window_high in "
            f"{unit}, found {low} and {high}"
        )
    if unit != "counts" and raw_unit == "counts":
        raise ConfigurationError(
            f"window_unit {unit!r} needs radiometric frames, but raw_unit says 'counts'; give the "
            "window in counts or set raw_unit to centikelvin, kelvin or celsius"
        )
