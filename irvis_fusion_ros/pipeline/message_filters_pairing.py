"""`pairing: message_filters`: ROS's own synchroniser, in the shape of our pairing policies.

It is here for comparison and for those who know its behaviour. Two faults of the Python
`ApproximateTimeSynchronizer` are guarded against: it stalls when stamps go back (bag loops),
so its queues are emptied then; and an exception in the user's callback leaves its lock held for
ever, so the callback here only stores. It pairs greedily, which is not changed.
"""

from __future__ import annotations

import importlib
from typing import Any

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams import pairing
from irvis_fusion_core.streams.pairing import Pair, PairingPolicy
from irvis_fusion_core.streams.pairing_policy import ThermalFrame
from irvis_fusion_core.streams.stamps import NS_PER_S

_LAST_NS = (1 << 31) * NS_PER_S - 1
"""The latest time that builtin_interfaces/msg/Time holds."""


class _Stamped:
    """What the synchroniser asks of a message: `header.stamp`. It carries our item."""

    def __init__(self, stamp_ns: int, item: Any) -> None:
        from builtin_interfaces.msg import Time

        self.header = self
        self.stamp = Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)
        self.stamp_ns = stamp_ns
        self.item = item


class StockPairing(PairingPolicy):
    """`message_filters.ApproximateTimeSynchronizer`; every visible frame still comes out once."""

    name = "message_filters"

    def __init__(
        self, slop_s: float, ir_time_offset_s: float, depth: int, max_wait_s: float
    ) -> None:
        """Raise ConfigurationError where message_filters is not installed."""
        super().__init__(slop_s, ir_time_offset_s, depth)
        try:
            filters = importlib.import_module("message_filters")
        except ImportError as error:
            raise ConfigurationError(
                f"pairing: message_filters needs ROS's message_filters ({error}); install"
                " ros-<distro>-message-filters, or use latest_ir or pair"
            ) from error
        self._matches: list[tuple[_Stamped, _Stamped]] = []
        self._inputs = (filters.SimpleFilter(), filters.SimpleFilter())
        self._synchroniser = filters.ApproximateTimeSynchronizer(list(self._inputs), depth, slop_s)
        # Nothing in the callback may raise: the lock would stay held.
        self._synchroniser.registerCallback(lambda *match: self._matches.append(match))
        self._max_wait_ns = round(max_wait_s * NS_PER_S)
        # Oldest first, with their arrival on the monotonic clock.
        self._waiting: list[tuple[_Stamped, int | None]] = []
        self._last: dict[str, int] = {}

    @property
    def pending(self) -> int:
        """Visible frames that wait."""
        return len(self._waiting)

    def add_ir(self, stamp_ns: int, item: Any, now_ns: int | None = None) -> list[Pair]:
        """Hand a thermal frame over; return what left the queue."""
        self._counters["ir_in"] += 1
        if stamp_ns <= 0:
            self._counters["ir_dropped." + pairing.ZERO_STAMP] += 1
            return []
        time_ns = stamp_ns + self._offset_ns
        released = self._follow_jump("ir", time_ns)
        # A stamp at either end of what Time holds must not make it raise, offset applied.
        message = _Stamped(min(max(time_ns, 0), _LAST_NS), (stamp_ns, item))
        self._inputs[0].signalMessage(message)
        return released + self.expire(now_ns)

    def add_vis(self, stamp_ns: int, item: Any, now_ns: int | None = None) -> list[Pair]:
        """Hand a visible frame over; return what left the queue, in order of arrival."""
        self._counters["vis_in"] += 1
        if stamp_ns <= 0:
            released = self._release(self.pending, pairing.QUEUE_FULL)
            return [*released, self._released(Pair.of(stamp_ns, item, None, pairing.ZERO_STAMP))]
        released = self._follow_jump("vis", stamp_ns)
        message = _Stamped(stamp_ns, item)
        self._waiting.append((message, now_ns))
        self._inputs[1].signalMessage(message)
        released += self.expire(now_ns)
        return released + self._release(self.pending - self.depth, pairing.QUEUE_FULL)

    def expire(self, now_ns: int | None) -> list[Pair]:
        """Return matches with the older frames that each left behind, and who waited too long."""
        out: list[Pair] = []
        matches, self._matches = self._matches, []
        for ir, vis in matches:
            waiting = [message for message, _ in self._waiting]
            if vis not in waiting:
                continue  # it had waited too long and is out already
            out += self._release(waiting.index(vis), pairing.NO_PARTNER)
            del self._waiting[0]
            frame = ThermalFrame(ir.stamp_ns, *ir.item)
            out.append(self._released(Pair.of(vis.stamp_ns, vis.item, frame, pairing.PAIRED)))
        if now_ns is None:
            return out
        latest_ns = now_ns - self._max_wait_ns
        over = sum(arrived is None or arrived <= latest_ns for _, arrived in self._waiting)
        return out + self._release(over, pairing.WAITED)

    def clear(self, reason: str) -> list[Pair]:
        """Empty the synchroniser's queues and give back every visible frame that waits."""
        self._counters["cleared." + reason] += 1
        for queue in self._synchroniser.queues:
            queue.clear()
        self._last.clear()
        return self._release(self.pending, pairing.CLEARED)

    def _follow_jump(self, stream: str, time_ns: int) -> list[Pair]:
        last = self._last.get(stream, time_ns)
        released = self.clear(stream + "_stamp_back") if time_ns < last - self._window_ns else []
        self._last[stream] = time_ns
        return released

    def _release(self, count: int, reason: str) -> list[Pair]:
        """Give back the first `count` visible frames alone."""
        count = max(count, 0)
        alone, self._waiting = self._waiting[:count], self._waiting[count:]
        return [self._released(Pair.of(m.stamp_ns, m.item, None, reason)) for m, _ in alone]
