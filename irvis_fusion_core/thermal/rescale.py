"""Raw thermal frames to 8 bit, steady over time.

    rescale = ThermalRescale(method="percentile", smoothing_s=2.0)
    grey = rescale(raw)                    # uint8 HxW

Raw frames are uint8 (the camera's own gain control), uint16 (14- or 16-bit counts, or centikelvin
on radiometric Lepton and Boson: 29315 is 20 degC) or float32 temperature.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.thermal import raw_frames
from irvis_fusion_core.thermal.methods import METHODS, Limits, LowPass, Sample, ThermalOptions
from irvis_fusion_core.thermal.raw_frames import column_offsets, repair_dead_pixels

# Every fourth pixel of every fourth row: 20 480 values at 640x512 place a percentile to 0.1 %.
_SAMPLE_STEP = 4
# Frame period where stamps are missing.
_ASSUMED_PERIOD_S = 1.0 / 30.0
# After a longer pause earlier frames say nothing about the scene.
_LONGEST_PAUSE_S = 5.0
# Changes of a grey value below this keep the maps of gain and offset: they would be rounded away,
# and resizing the maps costs as much as applying them.
_UNSEEN_GREY = 0.25

_ALL_OF_8_BITS = np.arange(256, dtype=np.float32)[np.newaxis]
"""Every value of an 8-bit frame: rescaled once, it is the table for the whole frame."""
_VECTOR_PX = 64
"""Rows of a multiple of it are rescaled directly, twice as fast. The pixels behind the last vector
of a row would round halves in another way."""


class Stretch:
    """Maps (frame - low) / (high - low) to 0..255, rounded and saturated; keeps its maps."""

    def __init__(self) -> None:
        self._limits: tuple[np.ndarray, np.ndarray] | None = None
        self._gain = self._offset = np.empty((0, 0), np.float32)

    def __call__(self, frame: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return uint8 HxW of a float32 or uint8 frame; limits by field overwrite a float32 one.

        Limits are float32, of shape () or (fields down, across).
        """
        if low.ndim == 0:
            gain = 255.0 / float(high - low)
            offset = -float(low) * gain
            return cv2.addWeighted(frame, gain, frame, 0.0, offset, dtype=cv2.CV_8U)
        if self._gain.shape != frame.shape or self._would_be_seen(low, high):
            self._renew(frame.shape, low, high)
        cv2.multiply(frame, self._gain, dst=frame)
        return cv2.add(frame, self._offset, dtype=cv2.CV_8U)

    def _would_be_seen(self, low: np.ndarray, high: np.ndarray) -> bool:
        if self._limits is None or self._limits[0].shape != low.shape:
            return True
        moved = float(np.abs(np.subtract((low, high), self._limits)).max())
        return 255.0 * moved > _UNSEEN_GREY * float((high - low).min())

    def _renew(self, shape: tuple[int, ...], low: np.ndarray, high: np.ndarray) -> None:
        gain = 255.0 / (high - low)
        if self._gain.shape != shape:
            self._gain, self._offset = np.empty(shape, np.float32), np.empty(shape, np.float32)
        size = (shape[1], shape[0])
        cv2.resize(gain, size, dst=self._gain, interpolation=cv2.INTER_LINEAR)
        cv2.resize(-low * gain, size, dst=self._offset, interpolation=cv2.INTER_LINEAR)
        self._limits = (low.copy(), high.copy())


class ThermalRescale:
    """Map raw thermal frames HxW to uint8 HxW; remembers its limits from frame to frame.

    NaN, infinite values and, in uint16 frames, 0 mean "no data": they come out as 0. Saturated
    values and areas of +inf come out as the hottest. None of them moves the limits. Single pixels
    that are not finite are repaired.

    Args:
        method: a name of `thermal.METHODS`, or all settings as `ThermalOptions`.
        **settings: other fields of `ThermalOptions`.

    Raises:
        ConfigurationError: a setting has an impossible value.
    """

    def __init__(self, method: str | ThermalOptions = "percentile", **settings: Any) -> None:
        options = method if isinstance(method, ThermalOptions) else ThermalOptions(method)
        options = replace(options, **settings)
        self._options = options
        self._method = METHODS[options.method](options)
        clip = options.clahe_clip
        self._clahe = cv2.createCLAHE(clip, (8, 8)) if clip > 0.0 else None
        self._by_table = not (options.dead_pixels or options.columns or self._method.by_place)
        self._stretch = Stretch()
        self._steady_columns = LowPass(options.smoothing_s)
        self.reset()

    def reset(self) -> None:
        """Forget earlier frames: the next one sets the limits alone (new bag, other camera)."""
        self._method.reset()
        self._steady_columns.reset()
        self._limits: Limits | None = None
        self._stamp_s: float | None = None
        self._kind: tuple | None = None
        self._unit: str | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Raw values that became black and white in the last frame (field-wise: their means)."""
        if self._limits is None:
            return None
        low, high = self._limits
        return float(np.mean(low)), float(np.mean(high))

    def __call__(self, raw: np.ndarray, stamp_s: float | None = None) -> np.ndarray:
        """Rescale one frame.

        Args:
            raw: uint8, uint16, float32 or float64 [height, width(, 1)].
            stamp_s: time of the frame, seconds; without it 30 Hz is assumed.

        Returns:
            uint8 [height, width]; the caller owns it.

        Raises:
            FrameError: not a thermal frame, or without a single usable pixel.
        """
        raw = raw_frames.checked_frame(raw)
        if self._method.passes_through:
            if raw.dtype != np.uint8:
                raise FrameError(
                    f"thermal method 'none' passes uint8 frames only, found {raw.dtype}; choose "
                    "'percentile', 'fieldwise' or 'window'"
                )
            return self._finish(raw.copy())
        elapsed_s = self._advance(raw, stamp_s)
        if raw.dtype == np.uint8 and self._by_table:
            self._limits = self._find_limits(raw, raw, elapsed_s)
            if raw.shape[1] % _VECTOR_PX == 0:
                return self._finish(self._stretch(raw, *self._limits))
            return self._finish(cv2.LUT(raw, self._stretch(_ALL_OF_8_BITS, *self._limits)))
        frame = self._frame
        np.copyto(frame, raw)
        missing = raw_frames.replace_missing(raw, frame, self._options.max_invalid_share)
        if self._options.dead_pixels:
            frame = repair_dead_pixels(frame)
        if self._options.columns:
            frame = frame - self._steady_columns.update(column_offsets(frame), elapsed_s)
        self._limits = self._find_limits(raw, frame, elapsed_s)
        return self._finish(self._stretch(frame, *self._limits), missing)

    def _advance(self, raw: np.ndarray, stamp_s: float | None) -> float:
        """Return the time since the last frame.

        Resets on another size or type, on a jump back in time and after a long pause.
        """
        elapsed_s = _ASSUMED_PERIOD_S
        if stamp_s is not None and self._stamp_s is not None:
            elapsed_s = stamp_s - self._stamp_s
        # Counts and temperatures share no limits and no unit.
        kind = (raw.shape, raw.dtype)
        if self._kind not in (None, kind) or not 0.0 <= elapsed_s <= _LONGEST_PAUSE_S:
            self.reset()
            elapsed_s = _ASSUMED_PERIOD_S
        if self._kind is None:
            # The buffer is kept: fresh pages for each frame cost more than the arithmetic.
            self._kind = kind
            self._frame = np.empty(raw.shape, np.float32)
        self._stamp_s = stamp_s
        return elapsed_s

    def _find_limits(self, raw: np.ndarray, frame: np.ndarray, elapsed_s: float) -> Limits:
        step = _SAMPLE_STEP if min(raw.shape) >= 128 else 1
        values = frame[::step, ::step]
        usable = raw_frames.usable_values(raw[::step, ::step], self._options.saturated)
        if usable is not None:
            if not usable.any():
                raise FrameError(
                    "the thermal frame holds no usable value: every pixel is NaN, saturated or 0"
                )
            # The median in place of unusable values moves no percentile outwards.
            values = np.where(usable, values, np.median(values[usable])).astype(np.float32)
        if self._unit is None:
            self._unit = self._options.raw_unit
            if self._unit == "auto":
                in_degrees = self._method.in_degrees
                self._unit = raw_frames.guessed_unit(raw.dtype, values, in_degrees)
        sample = Sample(values, usable, self._unit, is_8_bit=raw.dtype == np.uint8)
        return self._method.limits(sample, elapsed_s)

    def _finish(self, grey: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
        if self._options.invert:
            grey = cv2.bitwise_not(grey)
        if self._clahe is not None:
            grey = self._clahe.apply(grey)
        if missing is not None:
            grey[missing] = 0
        return grey
