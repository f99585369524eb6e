"""Pair a visible and a thermal stream by time, without losing a visible frame.

In both policies every visible frame comes out **exactly once and in the order of arrival**, as a
pair or alone with a reason; `depth` bounds the memory; dropped frames are counted by cause. Stamps
are int nanoseconds. `ir_time_offset_s` is *added* to thermal stamps: a camera whose stamps are
0.3 s late needs -0.3. Nothing reads a clock or is locked: call an object from one thread.

A stamp that goes back by more than the policy's window is a jump (a bag loops, a clock is set):
earlier frames are released or forgotten, unless they are nearer to the new time than to the old
(the other stream jumped first). So each loop of a bag gives the same pairs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from irvis_fusion_core.errors import expect_one_of
from irvis_fusion_core.streams.pairing_policy import (
    CLEARED,
    NO_IR,
    NO_PARTNER,
    PAIRED,
    QUEUE_FULL,
    WAITED,
    ZERO_STAMP,
    LatestIr,
    Pair,
    PairingPolicy,
    ThermalFrame,
)
from irvis_fusion_core.streams.stamps import NS_PER_S, check_seconds

POLICIES = ("latest_ir", "pair")

# A thermal stamp this far past a visible one does not prove that the thermal stream has passed it:
# it is more likely from another loop of a bag, or corrupt.
_PROOF_HORIZON_NS = 1 * NS_PER_S


@dataclass(eq=False)
class _Waiting:
    """A visible frame in the queue; `outcome` is None until it is known."""

    stamp_ns: int
    item: Any
    arrived_ns: int | None
    outcome: Pair | None = None


class PairNearest(PairingPolicy):
    """Pairs one to one within `slop_s`, nearest first: the stable matching by |skew|.

    A visible frame waits until no nearer partner can come, `max_wait_s` at most. No two frames
    are nearer to each other than each is to its partner (equal skews: the earlier wins), as long
    as no camera halves its shortest interval. At 30/9 Hz two of three visible frames come out
    alone with `NO_PARTNER`, by design.
    """

    name = "pair"

    def __init__(
        self,
        slop_s: float = 0.05,
        ir_time_offset_s: float = 0.0,
        depth: int = 10,
        max_wait_s: float = 0.1,
    ) -> None:
        check_seconds("slop_s", slop_s)
        check_seconds("max_wait_s", max_wait_s)
        super().__init__(slop_s, ir_time_offset_s, depth)
        self._max_wait_ns = round(max_wait_s * NS_PER_S)
        self._queue: deque[_Waiting] = deque()

    @property
    def pending(self) -> int:
        """Visible frames that wait, at most `depth`."""
        return len(self._queue)

    def add_ir(self, stamp_ns: int, item: object, now_ns: int | None = None) -> list[Pair]:
        """Keep a thermal frame and return every visible frame that it settles.

        `now_ns`, if given, also ends waits that are over, as `expire` does.
        """
        _, released = self._accept_ir(stamp_ns, item)
        self._settle()
        if len(self._ir) > self.depth:
            self._drop_oldest_ir()
        return released + self._emit(now_ns)

    def add_vis(self, stamp_ns: int, item: object, now_ns: int | None = None) -> list[Pair]:
        """Queue a visible frame and return all that are settled now, in order of arrival.

        `now_ns` is the time of arrival on the steady clock of `expire`. Without it the wait
        counts from the first `expire`.
        """
        self._counters["vis_in"] += 1
        released: list[Pair] = []
        outcome = None if stamp_ns > 0 else Pair.of(stamp_ns, item, None, ZERO_STAMP)
        if outcome is None:
            released = self._follow_vis_jump(stamp_ns)
            self._vis_stream.advance(stamp_ns)
        self._queue.append(_Waiting(stamp_ns, item, now_ns, outcome))
        self._settle()
        if len(self._queue) > self.depth:
            self._decide_now(self._queue[0], QUEUE_FULL)
        return released + self._emit(now_ns)

    def expire(self, now_ns: int) -> list[Pair]:
        """Release every visible frame that has waited `max_wait_s`, paired where possible."""
        return self._emit(now_ns)

    def _release_waiting(self) -> list[Pair]:
        for frame in self._queue:
            self._decide_now(frame, CLEARED)
        return self._emit(None)

    def _emit(self, now_ns: int | None) -> list[Pair]:
        if now_ns is not None:
            for frame in self._queue:
                if frame.arrived_ns is None or frame.arrived_ns > now_ns:  # a clock set back
                    frame.arrived_ns = now_ns
                elif now_ns - frame.arrived_ns >= self._max_wait_ns:
                    self._decide_now(frame, WAITED)
        settled: list[Pair] = []
        while self._queue and self._queue[0].outcome is not None:
            settled.append(self._released(self._queue[0].outcome))
            self._queue.popleft()
        return settled

    def _settle(self) -> None:
        """Decide every frame whose outcome no later frame can change."""
        changed = True
        while changed:  # frames can become each other's nearest when a pair leaves
            changed = False
            for frame in self._queue:
                if frame.outcome is not None:
                    continue
                partner = self._mutual_partner(frame)
                if partner is not None and self._nothing_nearer_can_come(frame, partner):
                    self._pair(frame, partner)
                    changed = True
        for frame in self._queue:
            if frame.outcome is None and self._is_passed_by(frame):
                self._leave_alone(frame, NO_PARTNER)

    def _decide_now(self, frame: _Waiting, reason: str) -> None:
        if frame.outcome is not None:
            return
        partner = self._stable_partner(frame)
        if partner is not None:
            self._pair(frame, partner)
        else:
            self._leave_alone(frame, reason)

    def _mutual_partner(self, frame: _Waiting) -> ThermalFrame | None:
        """Return the thermal frame within the slop whose nearest waiting frame is this one."""
        ir = self._nearest_ir(frame.stamp_ns)
        if ir is None or abs(ir.time_ns - frame.stamp_ns) > self._window_ns:
            return None
        free = (other for other in self._queue if other.outcome is None)
        # min() keeps the first of equals, so the key's second part matters for disorder only.
        nearest = min(free, key=lambda o: (abs(o.stamp_ns - ir.time_ns), o.stamp_ns))
        return ir if nearest is frame else None

    def _stable_partner(self, frame: _Waiting) -> ThermalFrame | None:
        """Return the partner of this frame if nothing else arrived, nearest pairs first.

        Its nearest thermal frame may belong to another waiting frame; then the next one counts.
        """
        near = sorted(
            (abs(ir.time_ns - other.stamp_ns), other.stamp_ns, ir.time_ns, place)
            for place, other in enumerate(self._queue)
            if other.outcome is None
            for ir in self._ir
            if abs(ir.time_ns - other.stamp_ns) <= self._window_ns
        )
        thermal = {ir.time_ns: ir for ir in self._ir}
        paired: set[int] = set()
        for _, _, time_ns, place in near:
            if place in paired or time_ns not in thermal:
                continue
            if self._queue[place] is frame:
                return thermal[time_ns]
            paired.add(place)
            del thermal[time_ns]
        return None

    def _nothing_nearer_can_come(self, frame: _Waiting, ir: ThermalFrame) -> bool:
        skew_ns = abs(ir.time_ns - frame.stamp_ns)
        next_ir, next_vis = self._ir_stream.soonest_next_ns(), self._vis_stream.soonest_next_ns()
        if next_ir is None or next_vis is None:
            return False
        soonest_ns = min(next_ir - frame.stamp_ns, next_vis - ir.time_ns)
        return max(0, soonest_ns) >= skew_ns

    def _is_passed_by(self, frame: _Waiting) -> bool:
        """Return whether no thermal frame, held or to come, can lie within the slop."""
        next_ir = self._ir_stream.soonest_next_ns()
        if next_ir is None or not self._window_ns < next_ir - frame.stamp_ns < _PROOF_HORIZON_NS:
            return False
        nearest = self._nearest_ir(frame.stamp_ns)
        return nearest is None or abs(nearest.time_ns - frame.stamp_ns) > self._window_ns

    def _pair(self, frame: _Waiting, ir: ThermalFrame) -> None:
        self._ir.remove(ir)
        frame.outcome = Pair.of(frame.stamp_ns, frame.item, ir, PAIRED)

    def _leave_alone(self, frame: _Waiting, reason: str) -> None:
        reason = NO_IR if self._ir_stream.last_ns is None else reason
        nearest = self._nearest_ir(frame.stamp_ns)
        frame.outcome = Pair.of(frame.stamp_ns, frame.item, nearest, reason)

    def _drop_oldest_ir(self) -> None:
        oldest = self._ir.popleft()
        next_vis = self._vis_stream.soonest_next_ns()
        passed_by = next_vis is not None and next_vis - oldest.time_ns > self._window_ns
        self._counters["ir_dropped." + (NO_PARTNER if passed_by else QUEUE_FULL)] += 1


def make_pairing(
    policy: str = "latest_ir",
    *,
    slop_s: float = 0.05,
    max_ir_age_s: float = 0.3,
    ir_time_offset_s: float = 0.0,
    depth: int = 10,
    max_wait_s: float = 0.1,
) -> LatestIr | PairNearest:
    """Build `LatestIr` or `PairNearest` by name; each uses its own options.

    Raises:
        ConfigurationError: an unknown policy or a value out of range.
    """
    expect_one_of("pairing policy", policy, POLICIES)
    if policy == LatestIr.name:
        return LatestIr(max_ir_age_s, ir_time_offset_s, depth)
    return PairNearest(slop_s, ir_time_offset_s, depth, max_wait_s)
