"""Whether the thermal camera is usable, and what to publish when it is not.

Ages come from *stamps*, so that a bag or a simulation at any speed is judged by its own time. The
watchdog uses the *monotonic* clock. Nothing is locked: use an object from one thread.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from irvis_fusion_core.errors import ConfigurationError, expect_one_of
from irvis_fusion_core.streams.stamps import NS_PER_S, check_seconds

OK = "ok"
MISSING = "missing"  # never a frame, or none for missing_after_s
STALE = "stale"  # frames stopped, the newest is older than max_ir_age_s
LATE = "late"  # frames arrive, but their stamps lie behind by more than max_ir_age_s
AHEAD = "ahead"  # ... or ahead
FROZEN = "frozen"  # stamps move, the image does not
WRONG_SIZE = "wrong_size"
UNSTAMPED = "unstamped"
REASONS = (OK, MISSING, STALE, LATE, AHEAD, FROZEN, WRONG_SIZE, UNSTAMPED)

FUSE = "fuse"
PASSTHROUGH = "passthrough"
HOLD = "hold"
STOP = "stop"
ON_IR_LOSS = (PASSTHROUGH, HOLD, STOP)

# Every sixteenth row, about 10 us of CRC at 640x480. Frames are compared in full only where this
# subsample has not changed. Whole rows are copied faster than single pixels of more of them.
_DIGEST_STRIDE = 16
# Stamps further apart than this come from different clocks rather than from a late driver.
_OTHER_CLOCK_S = 60.0


class _Newest(NamedTuple):
    """The newest thermal frame."""

    stamp_ns: int
    arrived_ns: int
    frame: np.ndarray
    digest: int
    same_since_ns: int


class Verdict(NamedTuple):
    """`usable`: fuse with this camera now. `reason`: one of REASONS. `text`: for a person."""

    usable: bool
    reason: str
    text: str


def decide(verdict: Verdict, on_ir_loss: str = PASSTHROUGH) -> str:
    """Return what to do with the visible frame at hand: FUSE, or else `on_ir_loss`.

    PASSTHROUGH publishes it unchanged. HOLD fuses it with the last usable thermal frame, or passes
    it through where there is none yet. STOP publishes nothing. Others raise ConfigurationError.
    """
    expect_one_of("on_ir_loss", on_ir_loss, ON_IR_LOSS)
    return FUSE if verdict.usable else on_ir_loss


@dataclass(eq=False)
class IrHealth:
    """Watch one thermal stream: `add_frame` for each arrival, `verdict` for each visible frame.

    A flat-field correction holds the image for 0.5-0.9 s with fresh stamps, and cheap cores send
    each image three times at 26 Hz; `frozen_after_s` = 2.0 tells both from a frozen camera.

    Args:
        max_ir_age_s: age from which a thermal frame is stale.
        frozen_after_s: time without change after which the image is frozen; 0: never.
        expected_size: (height, width), each 0 for any; None for any size.
        ir_time_offset_s: added to thermal stamps, as in pairing.
        missing_after_s: silence on the monotonic clock after which the camera is missing; a bag
            played at a tenth of its speed needs more.

    Raises:
        ConfigurationError: a value out of range.
    """

    max_ir_age_s: float = 0.3
    frozen_after_s: float = 2.0
    expected_size: tuple[int, int] | None = None
    ir_time_offset_s: float = 0.0
    missing_after_s: float = 2.0

    def __post_init__(self) -> None:
        check_seconds("max_ir_age_s", self.max_ir_age_s)
        check_seconds("missing_after_s", self.missing_after_s)
        check_seconds("frozen_after_s", self.frozen_after_s, ">= 0")
        check_seconds("ir_time_offset_s", self.ir_time_offset_s, "")
        size = self.expected_size
        if size is not None and (len(size) != 2 or min(size) < 0):
            raise ConfigurationError(f"expected_size must be (height, width), got {size!r}")
        self._offset_ns = round(self.ir_time_offset_s * NS_PER_S)
        self.reset()

    def reset(self) -> None:
        """Forget all frames, after a clock jump or a restart: MISSING until a frame comes."""
        self._newest: _Newest | None = None

    def take_limits(self, other: IrHealth) -> None:
        """Go on with the limits of `other` and with the frames seen so far.

        The time offset is not among them: another one changes all ages, so begin again with it.
        """
        self.max_ir_age_s, self.frozen_after_s = other.max_ir_age_s, other.frozen_after_s
        self.missing_after_s, self.expected_size = other.missing_after_s, other.expected_size

    def add_frame(self, stamp_ns: int, frame: np.ndarray, monotonic_ns: int | None = None) -> None:
        """Inspect an arriving frame.

        Args:
            frame: HxW or HxWxC of any dtype; kept until the next one, so do not write to it.
            monotonic_ns: its arrival on `time.monotonic_ns`; None reads the clock.
        """
        digest = zlib.crc32(frame[::_DIGEST_STRIDE].tobytes())
        last, same_since_ns = self._newest, stamp_ns
        if last and stamp_ns >= last.stamp_ns and digest == last.digest:
            same_since_ns = last.same_since_ns if _same(frame, last.frame) else stamp_ns
        arrived_ns = time.monotonic_ns() if monotonic_ns is None else monotonic_ns
        self._newest = _Newest(stamp_ns, arrived_ns, frame, digest, same_since_ns)

    def verdict(self, now_ns: int, monotonic_ns: int | None = None) -> Verdict:
        """Judge the camera at `now_ns`, the visible frame's stamp or else the node's clock."""
        if self._newest is None:
            return Verdict(False, MISSING, "no thermal frame has arrived; is the camera running?")
        monotonic_ns = time.monotonic_ns() if monotonic_ns is None else monotonic_ns
        silence_s = (monotonic_ns - self._newest.arrived_ns) / NS_PER_S
        reason, text = self._judge(self._newest, now_ns, silence_s)
        return Verdict(reason == OK, reason, text)

    def _judge(self, newest: _Newest, now_ns: int, silence_s: float) -> tuple[str, str]:
        if silence_s > self.missing_after_s:
            return MISSING, f"no thermal frame for {silence_s:.1f} s; is the camera running?"
        if newest.stamp_ns <= 0:
            return UNSTAMPED, "the thermal frames carry no stamp; have the driver stamp them"
        height, width = newest.frame.shape[:2]
        rows, columns = self.expected_size or (0, 0)
        if (rows or height, columns or width) != (height, width):
            expected = f"{columns or 'any'}x{rows or 'any'}"
            return WRONG_SIZE, (
                f"thermal frames are {width}x{height}, expected {expected}; correct the "
                "parameter, or the driver's mode"
            )
        same_s = (newest.stamp_ns - newest.same_since_ns) / NS_PER_S
        if 0 < self.frozen_after_s <= same_s:
            unchanged = f"has not changed for {same_s:.1f} s while stamps moved"
            return FROZEN, f"the thermal image {unchanged}"
        age_s = (now_ns - newest.stamp_ns - self._offset_ns) / NS_PER_S
        if age_s > self.max_ir_age_s and silence_s > self.max_ir_age_s:
            return STALE, f"the newest thermal frame is {age_s:.2f} s old and none has followed"
        if abs(age_s) > self.max_ir_age_s:
            behind = age_s > 0
            return LATE if behind else AHEAD, (
                f"thermal frames arrive, but their stamps lie {abs(age_s):.2f} s "
                f"{'behind' if behind else 'ahead'}; {_remedy(abs(age_s))}, and use_sim_time "
                "where a bag is played"
            )
        return OK, "thermal frames arrive and change"


def _remedy(apart_s: float) -> str:
    if apart_s < _OTHER_CLOCK_S:
        return "set ir_time_offset_s"
    return (
        "the cameras use different clocks, perhaps since one of them started: have the drivers "
        "stamp with the computer's clock, or set ir_time_offset_s, again after every start"
    )


def _same(frame: np.ndarray, last: np.ndarray) -> bool:
    if frame.shape != last.shape or frame.dtype != last.dtype:
        return False
    # NaN marks a dead pixel: equal where both images have one.
    return np.array_equal(frame, last, equal_nan=frame.dtype.kind == "f")
