"""The common part of pairing policies, and the simpler one; see `streams.pairing`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from typing import Any, NamedTuple

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams.stamps import NS_PER_S, check_seconds

PAIRED = "paired"
NO_IR = "no_ir"  # no thermal frame since the start or the last clearing
IR_TOO_OLD = "ir_too_old"  # the nearest thermal frame is older than max_ir_age_s
IR_AHEAD = "ir_ahead"  # ... or further ahead: wrong ir_time_offset_s, clocks out of step
NO_PARTNER = "no_partner"  # no free thermal frame within the slop: normal at 30/9 Hz
WAITED = "waited"  # max_wait_s went by and no partner came
QUEUE_FULL = "queue_full"
ZERO_STAMP = "zero_stamp"
CLEARED = "cleared"  # was waiting when the clock jumped or the buffers were cleared
DUPLICATE_STAMP = "duplicate_stamp"


class ThermalFrame(NamedTuple):
    """A thermal frame in memory."""

    time_ns: int  # stamp + offset: comparable with visible stamps
    stamp_ns: int
    item: Any


class Pair(NamedTuple):
    """One visible frame on its way out, with its thermal frame or without one.

    `skew_s` is thermal minus visible in seconds after `ir_time_offset_s`; without partner, that of
    the nearest thermal frame held, or None.
    """

    vis_stamp_ns: int
    vis: Any
    ir_stamp_ns: int | None  # the thermal frame's own
    ir: Any
    skew_s: float | None
    reason: str  # PAIRED or the cause

    @property
    def paired(self) -> bool:
        """Whether there is a thermal frame."""
        return self.reason == PAIRED

    @classmethod
    def of(cls, stamp_ns: int, vis: object, ir: ThermalFrame | None, reason: str) -> Pair:
        """Make an outcome; `ir` is the partner if `reason` is PAIRED, else the nearest one."""
        skew_s = None if ir is None else (ir.time_ns - stamp_ns) / NS_PER_S
        if ir is None or reason != PAIRED:
            return cls(stamp_ns, vis, None, None, skew_s, reason)
        return cls(stamp_ns, vis, ir.stamp_ns, ir.item, skew_s, reason)


class Stream:
    """The newest time of a stream, and its shortest interval."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.last_ns: int | None = None
        self._shortest_ns: int | None = None

    def advance(self, time_ns: int) -> None:
        if self.last_ns is None:
            self.last_ns = time_ns
        elif time_ns > self.last_ns:
            interval = time_ns - self.last_ns
            self._shortest_ns = min(interval, self._shortest_ns or interval)
            self.last_ns = time_ns

    def soonest_next_ns(self) -> int | None:
        """Return the earliest time of the next frame: after half the shortest interval seen."""
        return None if self.last_ns is None else self.last_ns + (self._shortest_ns or 0) // 2


class PairingPolicy(ABC):
    """The interface of a policy, and its common part: arrival, jumps, counters."""

    name = ""

    def __init__(self, window_s: float, ir_time_offset_s: float, depth: int) -> None:
        check_seconds("ir_time_offset_s", ir_time_offset_s, "")
        if not isinstance(depth, int) or depth < 1:
            raise ConfigurationError(f"depth must be a whole number of frames >= 1, got {depth!r}")
        self.depth = depth
        self._window_ns = round(window_s * NS_PER_S)
        self._offset_ns = round(ir_time_offset_s * NS_PER_S)
        self._ir: deque[ThermalFrame] = deque()
        self._ir_stream = Stream()
        self._vis_stream = Stream()
        self._counters: dict[str, int] = Counter()

    @abstractmethod
    def add_ir(self, stamp_ns: int, item: object, now_ns: int | None = None) -> list[Pair]:
        """Take a thermal frame; return the visible frames that it releases."""

    @abstractmethod
    def add_vis(self, stamp_ns: int, item: object, now_ns: int | None = None) -> list[Pair]:
        """Take a visible frame; return the visible frames that can leave now, in order."""

    def expire(self, now_ns: int) -> list[Pair]:
        """Return the visible frames whose wait is over at `now_ns`."""
        return []

    @property
    def counters(self) -> dict[str, int]:
        """A copy of the counts since construction.

        Keys: `vis_in`, `ir_in`, `paired`, `vis_only.<reason>`, `ir_dropped.<cause>`,
        `cleared.<reason>`. Always: vis_in = paired + all vis_only + `pending`.
        """
        return dict(self._counters)

    @property
    def held_ir(self) -> int:
        """Thermal frames in memory, at most `depth`."""
        return len(self._ir)

    @property
    def pending(self) -> int:
        """Visible frames in memory, at most `depth`."""
        return 0

    def clear(self, reason: str) -> list[Pair]:
        """Forget all thermal frames and times; return every visible frame that waits.

        For a clock jump, deactivation, or a change of resolution. `reason` is only counted.
        """
        self._counters["cleared." + reason] += 1
        released = self._release_waiting()
        self._forget_ir()
        self._ir_stream.restart()
        self._vis_stream.restart()
        return released

    def _release_waiting(self) -> list[Pair]:
        return []

    def _forget_ir(self) -> None:
        if self._ir:
            self._counters["ir_dropped." + CLEARED] += len(self._ir)
        self._ir.clear()

    def _accept_ir(self, stamp_ns: int, item: Any) -> tuple[bool, list[Pair]]:
        """Store a thermal frame; return whether it was stored, and what a jump released."""
        self._counters["ir_in"] += 1
        if stamp_ns <= 0:
            self._counters["ir_dropped." + ZERO_STAMP] += 1
            return False, []
        time_ns = stamp_ns + self._offset_ns
        # The newest may have left with its partner.
        if time_ns in (self._ir_stream.last_ns, *(held.time_ns for held in self._ir)):
            self._counters["ir_dropped." + DUPLICATE_STAMP] += 1
            return False, []
        released = self._follow_ir_jump(time_ns)
        self._ir_stream.advance(time_ns)
        self._ir.append(ThermalFrame(time_ns, stamp_ns, item))
        return True, released

    def _follow_ir_jump(self, time_ns: int) -> list[Pair]:
        last = self._ir_stream.last_ns
        if last is None or time_ns >= last - self._window_ns:
            return []
        self._counters["cleared.ir_stamp_back"] += 1
        vis_last = self._vis_stream.last_ns
        vis_jumped_before = vis_last is not None and abs(vis_last - time_ns) < abs(vis_last - last)
        released = [] if vis_jumped_before else self._release_waiting()
        self._forget_ir()
        self._ir_stream.restart()
        return released

    def _follow_vis_jump(self, stamp_ns: int) -> list[Pair]:
        last = self._vis_stream.last_ns
        if last is None or stamp_ns >= last - self._window_ns:
            return []
        self._counters["cleared.vis_stamp_back"] += 1
        released = self._release_waiting()
        ir_last = self._ir_stream.last_ns
        if ir_last is not None and abs(ir_last - last) < abs(ir_last - stamp_ns):
            self._forget_ir()
        self._vis_stream.restart()
        return released

    def _released(self, outcome: Pair) -> Pair:
        """Count an outcome on its way out."""
        self._counters[PAIRED if outcome.reason == PAIRED else f"vis_only.{outcome.reason}"] += 1
        return outcome

    def _nearest_ir(self, stamp_ns: int) -> ThermalFrame | None:
        """Return the nearest held thermal frame, the earlier of two equally near ones."""
        distances = ((abs(ir.time_ns - stamp_ns), ir.time_ns, ir) for ir in self._ir)
        return min(distances, default=(0, 0, None))[2]


class LatestIr(PairingPolicy):
    """Pairs every visible frame at once with the nearest thermal frame, within `max_ir_age_s`.

    `depth` thermal frames are held for visible frames that arrive late. A thermal frame can serve
    several visible ones; frames more than `max_ir_age_s` ahead are refused as well.
    """

    name = "latest_ir"

    def __init__(
        self, max_ir_age_s: float = 0.3, ir_time_offset_s: float = 0.0, depth: int = 10
    ) -> None:
        check_seconds("max_ir_age_s", max_ir_age_s)
        super().__init__(max_ir_age_s, ir_time_offset_s, depth)

    def add_ir(self, stamp_ns: int, item: object, now_ns: int | None = None) -> list[Pair]:
        """Keep a thermal frame; `now_ns` is not used."""
        stored, released = self._accept_ir(stamp_ns, item)
        if stored and len(self._ir) > self.depth:
            self._ir.popleft()
            self._counters["ir_dropped.superseded"] += 1
        return released

    def add_vis(self, stamp_ns: int, item: object, now_ns: int | None = None) -> list[Pair]:
        """Return this visible frame's outcome; `now_ns` is not used."""
        self._counters["vis_in"] += 1
        if stamp_ns <= 0:
            return [self._released(Pair.of(stamp_ns, item, None, ZERO_STAMP))]
        self._follow_vis_jump(stamp_ns)
        self._vis_stream.advance(stamp_ns)
        nearest = self._nearest_ir(stamp_ns)
        if nearest is None:
            reason = NO_IR
        elif abs(nearest.time_ns - stamp_ns) <= self._window_ns:
            reason = PAIRED
        else:
            reason = IR_TOO_OLD if nearest.time_ns < stamp_ns else IR_AHEAD
        return [self._released(Pair.of(stamp_ns, item, nearest, reason))]
