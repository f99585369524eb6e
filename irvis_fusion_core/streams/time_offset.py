"""The time offset between two cameras, from motion that both see and from arrival times.

    motion = MotionEnergy(); motion.add(stamp_s, image) ...      # one for each stream
    offset = estimate_time_offset(ir_motion, vis_motion)

Only *changes* of motion carry information: still scenes and even motion are refused. Motion tells
offsets of a few seconds; `ClockOffset` brings stamps of different clocks that near.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import CalibrationError

# Images are compared at this width, which suppresses noise and texture.
_WIDTH_PX = 80
# Slower changes of activity are removed: they fit many offsets.
_TREND_S = 3.0
LEAST_SECONDS = 4.0
LEAST_FRAMES = 20
LEAST_ACTIVITY = 0.12
LEAST_CORRELATION = 0.35
LEAST_PEAK_RATIO = 1.25
# Peaks further apart than this are different ones.
_PEAK_APART_S = 0.25


class TimeOffset(NamedTuple):
    """Seconds to add to infrared stamps, and the evidence."""

    ir_time_offset_s: float
    correlation: float  # of the two activities at that offset, -1..1
    peak_ratio: float  # that correlation over the next best one elsewhere
    overlap_s: float


class ClockOffset:
    """Collects when the messages of a stream arrived, as seconds after their stamps."""

    def __init__(self) -> None:
        self._delays_ns: list[int] = []
        self._stamps_ns: set[int] = set()
        self.first_ns = 0  # stamp of the first message

    def add(self, stamp_ns: int, arrived_ns: int) -> None:
        """Take the stamp and the arrival of a message."""
        self.first_ns = self.first_ns if self._delays_ns else stamp_ns
        self._delays_ns.append(arrived_ns - stamp_ns)
        self._stamps_ns.add(stamp_ns)

    def check(self, name: str) -> None:
        """Raise CalibrationError where the stamps do not move."""
        if len(self._delays_ns) >= LEAST_FRAMES and len(self._stamps_ns) == 1:
            raise CalibrationError(
                f"all {len(self._delays_ns)} {name} frames carry one stamp; let the driver stamp "
                "each frame when it is taken: an offset cannot mend this"
            )

    def before(self, other: ClockOffset) -> int:
        """Return the nanoseconds to add to these stamps, so that both arrive equally late.

        Exact to the difference of the two cameras' latencies; 0 without messages.
        """
        if not (self._delays_ns and other._delays_ns):
            return 0
        own, others = sorted(self._delays_ns), sorted(other._delays_ns)
        return own[len(own) // 2] - others[len(others) // 2]


class MotionEnergy:
    """Collects how much a stream's image changes from frame to frame."""

    def __init__(self) -> None:
        self._last: tuple[float, np.ndarray] | None = None
        self.times_s: list[float] = []  # midway between two frames
        self._energies: list[float] = []

    def add(self, stamp_s: float, image: np.ndarray) -> None:
        """Take a frame, HxW or HxWxC of any real dtype. Repeats and steps back are skipped."""
        small = _small(image)
        if self._last is not None:
            before_s, before = self._last
            # Thermal cores repeat images: a repeat does not mean that nothing moves.
            if stamp_s <= before_s or np.array_equal(small, before):
                return
            if small.shape != before.shape:
                raise CalibrationError(
                    f"expected frames of one size in a stream, found another at {stamp_s:.3f} s"
                )
            change = small - before
            # Gain control shifts the whole image, motion only parts of it.
            change = np.abs(change - np.median(change))
            self.times_s.append((stamp_s + before_s) / 2.0)
            self._energies.append(float(change.mean()) / (stamp_s - before_s))
        self._last = (stamp_s, small)

    @property
    def energies(self) -> np.ndarray:
        """Change per second, as a share of the image's contrast."""
        return np.array(self._energies)


def estimate_time_offset(
    ir: MotionEnergy, vis: MotionEnergy, largest_s: float = 2.0, ir_shift_s: float = 0.0
) -> TimeOffset:
    """Estimate the offset of the infrared stamps, moved by `ir_shift_s`, within +-`largest_s`.

    Raises:
        CalibrationError: too few frames, nothing that moves, or no offset that stands out.
    """
    streams = {"infrared": ir, "visible": vis}
    for name, motion in streams.items():
        _check_enough(name, motion)
    step_s = 0.25 * min(float(np.median(np.diff(m.times_s))) for m in (ir, vis))
    ir_activity, vis_activity = (_activity(motion, step_s) for motion in (ir, vis))
    for name, activity in zip(streams, (ir_activity, vis_activity)):
        if activity.std() < LEAST_ACTIVITY:
            raise CalibrationError(
                f"nothing moves by fits and starts in the {name} stream (activity varies by "
                f"{activity.std():.2f}, needed is {LEAST_ACTIVITY}); record 10 s of jerky turns "
                "of the cameras or of somebody who waves"
            )
    start_s = vis.times_s[0] - ir.times_s[0] - ir_shift_s
    found = _correlations(ir_activity, vis_activity, start_s, step_s, largest_s)
    return _peak(found, step_s, largest_s)


def _small(image: np.ndarray) -> np.ndarray:
    """Return float32, about 80 pixels wide, in shares of the image's contrast."""
    if image.ndim == 3:
        image = image.mean(axis=2)
    image = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
    scale = min(1.0, _WIDTH_PX / image.shape[1])
    size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 0.8)
    low, high = np.percentile(small, (2.0, 98.0))
    return (small - low) / max(float(high - low), 1e-6)


def _check_enough(name: str, motion: MotionEnergy) -> None:
    times = motion.times_s
    seconds = times[-1] - times[0] if times else 0.0
    if len(times) < LEAST_FRAMES or seconds < LEAST_SECONDS:
        raise CalibrationError(
            f"expected {LEAST_FRAMES} different {name} frames over {LEAST_SECONDS:g} s or more, "
            f"found {len(times) + 1 if times else 0} over {seconds:.1f} s; record for longer"
        )


def _activity(motion: MotionEnergy, step_s: float) -> np.ndarray:
    """Return the logarithm of the energy in even steps, without its slow trend."""
    times, energies = motion.times_s, motion.energies
    grid = np.arange(times[0], times[-1], step_s)
    # A logarithm: doubled motion counts the same for slow and for fast scenes.
    floor = 0.1 * float(np.median(energies)) + 1e-6
    activity = np.interp(grid, times, np.log(energies + floor))
    window = max(3, int(_TREND_S / step_s) | 1)
    if window >= len(activity):
        return activity - activity.mean()
    padded = np.pad(activity, window // 2, mode="reflect")
    trend = np.convolve(padded, np.ones(window) / window, mode="valid")
    return activity - trend


def _correlations(
    ir: np.ndarray, vis: np.ndarray, start_s: float, step_s: float, largest_s: float
) -> np.ndarray:
    """Return rows of lags (s), correlation coefficients and overlaps (samples).

    Lag L pairs ir[i] with vis[i + L]; as an offset, L steps plus `start_s`, vis after ir.
    """
    first = int(np.ceil((-largest_s - start_s) / step_s))
    last = int(np.floor((largest_s - start_s) / step_s))
    found = []
    least = max(0.5 * min(len(ir), len(vis)), LEAST_SECONDS / 2 / step_s)
    for lag in range(first, last + 1):
        low, high = max(0, -lag), min(len(ir), len(vis) - lag)
        if high - low < least:
            continue
        a, b = ir[low:high], vis[low + lag : high + lag]
        spread = float(a.std() * b.std())
        covariance = float(((a - a.mean()) * (b - b.mean())).mean())
        correlation = covariance / spread if spread > 0.0 else 0.0
        found.append((lag * step_s + start_s, correlation, high - low))
    if len(found) < 3:
        raise CalibrationError(
            f"the two streams do not overlap in time within {largest_s:g} s; were they recorded "
            "at once, and with stamps of one clock?"
        )
    return np.array(found).T


def _peak(found: np.ndarray, step_s: float, largest_s: float) -> TimeOffset:
    lags, correlations, overlaps = found
    best = int(np.argmax(correlations))
    peak = float(correlations[best])
    others = correlations[np.abs(lags - lags[best]) > _PEAK_APART_S]
    ratio = peak / max(float(others.max()) if others.size else 0.0, 0.05)
    inside = 0 < best < len(lags) - 1
    if not (inside and peak >= LEAST_CORRELATION and ratio >= LEAST_PEAK_RATIO):
        where = "" if inside else f", at the end of the range of +-{largest_s:g} s"
        raise CalibrationError(
            f"no offset stands out: best {lags[best]:+.3f} s with correlation {peak:.2f} (needed "
            f"{LEAST_CORRELATION}) and {ratio:.2f} times the next best ({LEAST_PEAK_RATIO})"
            f"{where}; record 10 s or more of jerky motion that both cameras see"
        )
    before, after = correlations[best - 1], correlations[best + 1]
    curvature = before - 2.0 * peak + after
    shift = 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
    offset_s = float(lags[best] + shift * step_s)
    return TimeOffset(offset_s, peak, ratio, float(overlaps[best] * step_s))
