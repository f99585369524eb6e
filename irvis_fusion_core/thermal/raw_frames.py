"""What raw thermal frames hold: types, unusable values, units; repairs of dead pixels."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError

# No thermal camera looks at scenes whose median is above 150 degC or below -123 degC.
_KELVIN_FROM = 150.0
# Noise in the low byte becomes noise in the high byte: swapped images are several times rougher.
_SWAPPED_ROUGHNESS = 2.0
# A dead pixel differs from the median of its neighbourhood by more than this number of robust
# deviations (1.4826 times the median absolute difference estimates sigma for Gaussian noise) ...
_DEAD_PIXEL_DEVIATIONS = 12.0
# ... and by this factor more than any of its neighbours.
_DEAD_PIXEL_DOMINANCE = 3.0
# A value that is not finite belongs to a dead pixel where this many of 8 neighbours are finite.
_FINITE_NEIGHBOURS = 6
# Columns are compared with the mean of this many neighbours: wider structures belong to the scene.
_COLUMN_NEIGHBOURS = 15
# Column offsets beyond this number of robust deviations are edges of the scene.
_COLUMN_DEVIATIONS = 4.0


def checked_frame(raw: np.ndarray) -> np.ndarray:
    """Return HxW of uint8, uint16 or float32 in native byte order; FrameError if impossible."""
    if not isinstance(raw, np.ndarray):
        raise FrameError(f"a thermal frame must be a numpy array, found {type(raw).__name__}")
    if raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[:, :, 0]
    if raw.ndim != 2 or raw.size == 0:
        raise FrameError(
            f"a thermal frame must be HxW or HxWx1, found shape {raw.shape}; false-colour "
            "frames carry no temperature: set the camera to raw or white-hot output"
        )
    # NumPy compares and OpenCV assumes native byte order.
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if raw.dtype in (np.uint8, np.uint16, np.float32):
        return raw
    if raw.dtype == np.float64:
        return raw.astype(np.float32)
    raise FrameError(
        f"a thermal frame must be uint8, uint16 or float32, found {raw.dtype}; convert it first"
    )


def has_swapped_bytes(raw: np.ndarray) -> bool:
    """Return whether a uint16 HxW image is much smoother with its bytes swapped."""
    if raw.dtype != np.uint16 or min(raw.shape) < 2:
        return False
    as_read, swapped = (
        float(np.abs(np.diff(values, axis=1)).mean()) / max(float(values.std()), 1e-6)
        for values in (raw.astype(np.float32), raw.byteswap().astype(np.float32))
    )
    return as_read > _SWAPPED_ROUGHNESS * swapped


def usable_values(raw: np.ndarray, saturated: float | None) -> np.ndarray | None:
    """Return where values are neither missing nor saturated, bool of HxW; None: all are usable."""
    if raw.dtype == np.uint8:  # white may be what the camera's gain control made of it
        if saturated is None:
            return None
        usable = raw < saturated
    elif raw.dtype == np.uint16:
        usable = (raw > 0) & (raw < (65535 if saturated is None else saturated))
    else:
        usable = np.isfinite(raw)
        if saturated is not None:
            usable &= raw < saturated
    return None if usable.all() else usable


def replace_missing(
    raw: np.ndarray, frame: np.ndarray, largest_share: float = 1.0
) -> np.ndarray | None:
    """Replace NaN and infinite values in `frame`, float32 of `raw`, in place.

    Dead pixels, most of whose neighbours are finite, become the mean of these. In larger areas
    +inf becomes the hottest finite value, NaN and -inf the coldest. Returns where the camera gave
    no value (bool HxW), or None where it gave all.

    Raises:
        FrameError: more than `largest_share` of the values, or all, are not finite.
    """
    if raw.dtype == np.uint16:
        return None if raw.all() else raw == 0
    if raw.dtype == np.uint8 or bool(np.isfinite(frame).all()):
        return None
    finite = np.isfinite(frame)
    if not finite.any():
        raise FrameError("the thermal frame holds no finite value (all NaN or infinite)")
    share = 1.0 - float(finite.mean())
    if share > largest_share:
        raise FrameError(
            f"{100 * share:.1f} % of the thermal frame's values are not finite, more than the "
            f"{100 * largest_share:g} % of max_invalid_share"
        )
    cold, hot = float(frame[finite].min()), float(frame[finite].max())
    hottest = np.isposinf(frame)
    frame[~finite] = 0.0
    sums, counts = (
        cv2.boxFilter(values, -1, (3, 3), normalize=False, borderType=cv2.BORDER_REFLECT_101)
        for values in (frame, finite.astype(np.float32))
    )
    dead = ~finite & (counts >= _FINITE_NEIGHBOURS)
    frame[~finite] = cold
    frame[hottest] = hot
    frame[dead] = sums[dead] / counts[dead]
    return ~finite & ~hottest & ~dead


def guessed_unit(dtype: np.dtype, sample: np.ndarray, in_degrees: bool) -> str:
    """Return the unit of raw values from their type and size.

    With `in_degrees` the limits are temperatures: integers must be centikelvin, and 8-bit frames
    raise FrameError.
    """
    if np.issubdtype(dtype, np.floating):
        return "kelvin" if float(np.median(sample)) > _KELVIN_FROM else "celsius"
    if in_degrees and dtype == np.uint8:
        raise FrameError(
            "a window in degrees needs radiometric frames (uint16 centikelvin or float), "
            "found uint8; set window_unit to 'counts'"
        )
    return "centikelvin" if in_degrees else "counts"


def repair_dead_pixels(frame: np.ndarray) -> np.ndarray:
    """Replace pixels of a float32 HxW frame far from all neighbours by the median of 3x3."""
    median = cv2.medianBlur(frame, 3)
    difference = cv2.absdiff(frame, median)
    spread = 1.4826 * float(np.median(difference[::4, ::4]))
    limit = max(_DEAD_PIXEL_DEVIATIONS * spread, 1e-6)
    # Few pixels are far from their median; only these are inspected, by their flat index.
    far = np.flatnonzero(difference > limit)
    if not far.size:
        return frame
    # Corners and thin lines differ from their median too, but never alone as a dead pixel does.
    padded = cv2.copyMakeBorder(difference, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=-1.0)
    width, values = padded.shape[1], padded.ravel()
    places = far + 2 * (far // frame.shape[1]) + width + 1
    around = values[places - 1]
    for step in (1, -width - 1, -width, -width + 1, width - 1, width, width + 1):
        np.maximum(around, values[places + step], out=around)
    alone = far[values[places] > _DEAD_PIXEL_DOMINANCE * around]
    repaired = frame.copy()
    repaired.ravel()[alone] = median.ravel()[alone]
    return repaired


def column_offsets(frame: np.ndarray) -> np.ndarray:
    """Return the fixed offsets between columns (uncooled read-out noise), float32 [width].

    The offset is the median over every eighth row of the difference between a column and its
    smoothed neighbours; the scene hardly affects it.
    """
    sample = frame[::8]
    smooth = cv2.blur(sample, (_COLUMN_NEIGHBOURS, 1), borderType=cv2.BORDER_REFLECT_101)
    # Medians along the rows of the transpose take a third of the time.
    offsets = np.median(cv2.transpose(cv2.subtract(sample, smooth)), axis=1).astype(np.float32)
    deviation = 1.4826 * float(np.median(np.abs(offsets)))
    limit = _COLUMN_DEVIATIONS * deviation
    return np.clip(offsets, -limit, limit)
