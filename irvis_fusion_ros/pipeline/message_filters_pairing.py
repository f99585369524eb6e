"""`pairing: message_filters`: ROS's own synchroniser, in the shape of our pairing policies.

It is here for comparison and for those who know its behaviour. Two faults of the Python
`ApproximateTimeSynchronizer` are guarded against: it stalls when stamps go back (bag loops),
so its queues are emptied then; and an exception in the user's callback leaves its lock held for
ever, so the callback here only stores. It pairs greedily, which is not changed.
"""

from __future__ import annotations

import importlib
from collections import Counter, OrderedDict
from typing import Any

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams import pairing
from irvis_fusion_core.streams.pairing import Pair
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


class StockPairing:
    """`message_filters.ApproximateTimeSynchronizer`; every visible frame still comes out once."""

    name = "message_filters"

    def __init__(
        self, slop_s: float, ir_time_offset_s: float, depth: int, max_wait_s: float
    ) -> None:
        """Raise ConfigurationError where message_filters is not installed."""
        try:
            filters = importlib.import_module("message_filters")
        except ImportError as error:
            raise ConfigurationError(
                f"pairing: message_filters needs ROS's message_filters ({error}); install"
                " ros-<distro>-message-filters, or use latest_ir or pair"
            ) from error
        self._inputs = (filters.SimpleFilter(), filters.SimpleFilter())
        self._synchroniser = filters.ApproximateTimeSynchronizer(list(self._inputs), depth, slop_s)
        self._synchroniser.registerCallback(self._on_match)
        self._slop_ns = round(slop_s * NS_PER_S)
        self._offset_ns = round(ir_time_offset_s * NS_PER_S)
        self._depth = depth
        self._max_wait_ns = round(max_wait_s * NS_PER_S)
        self._matches: list[tuple[_Stamped, _Stamped]] = []
        # id of the wrapper -> (wrapper, arrival on the monotonic clock), oldest first
        self._waiting: OrderedDict[int, tuple[_Stamped, int | None]] = OrderedDict()
        self._last: dict[str, int] = {}
        self._counters: dict[str, int] = Counter()

    @property
    def counters(self) -> dict[str, int]:
        """A copy of the counts, under the names of our own policies."""
        return dict(self._counters)

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
        return released + self._collect(now_ns)

    def add_vis(self, stamp_ns: int, item: Any, now_ns: int | None = None) -> list[Pair]:
        """Hand a visible frame over; return what left the queue, in order of arrival."""
        self._counters["vis_in"] += 1
        if stamp_ns <= 0:
            released = self._release(lambda _: True, pairing.QUEUE_FULL)
            self._counters["vis_only." + pairing.ZERO_STAMP] += 1
            return [*released, Pair(stamp_ns, item, None, None, None, pairing.ZERO_STAMP)]
        released = self._follow_jump("vis", stamp_ns)
        message = _Stamped(stamp_ns, item)
        self._waiting[id(message)] = (message, now_ns)
        self._inputs[1].signalMessage(message)
        released += self._collect(now_ns)
        if len(self._waiting) > self._depth:
            first = next(iter(self._waiting))
            released += self._release(lambda key: key == first, pairing.QUEUE_FULL)
        return released

    def expire(self, now_ns: int) -> list[Pair]:
        """Release every visible frame that has waited long enough."""
        return self._collect(now_ns)

    def clear(self, reason: str) -> list[Pair]:
        """Empty the synchroniser's queues and give back every visible frame that waits."""
        self._counters["cleared." + reason] += 1
        for queue in self._synchroniser.queues:
            queue.clear()
        self._last.clear()
        return self._release(lambda _: True, pairing.CLEARED)

    def _on_match(self, ir: _Stamped, vis: _Stamped) -> None:
        self._matches.append((ir, vis))  # nothing that can raise: its lock would stay held

    def _follow_jump(self, stream: str, time_ns: int) -> list[Pair]:
        last = self._last.get(stream)
        released = []
        if last is not None and time_ns < last - self._slop_ns:
            released = self.clear(stream + "_stamp_back")
        self._last[stream] = time_ns
        return released

    def _collect(self, now_ns: int | None) -> list[Pair]:
        """Return matches, and before each the older frames that it left behind."""
        out: list[Pair] = []
        matches, self._matches = self._matches, []
        for ir, vis in matches:
            if id(vis) not in self._waiting:
                continue  # it had waited too long and is out already
            for key in list(self._waiting):
                if key == id(vis):
                    break
                out += self._release(lambda k, key=key: k == key, pairing.NO_PARTNER)
            del self._waiting[id(vis)]
            stamp_ns, item = ir.item
            self._counters[pairing.PAIRED] += 1
            skew_s = (ir.stamp_ns - vis.stamp_ns) / NS_PER_S
            out.append(Pair(vis.stamp_ns, vis.item, stamp_ns, item, skew_s, pairing.PAIRED))
        if now_ns is not None:
            out += self._release(lambda key: self._is_over(key, now_ns), pairing.WAITED)
        return out

    def _is_over(self, key: int, now_ns: int) -> bool:
        arrived_ns = self._waiting[key][1]
        return arrived_ns is None or now_ns - arrived_ns >= self._max_wait_ns

    def _release(self, chosen: Any, reason: str) -> list[Pair]:
        out = []
        for key in [key for key in self._waiting if chosen(key)]:
            message, _ = self._waiting.pop(key)
            self._counters["vis_only." + reason] += 1
            out.append(Pair(message.stamp_ns, message.item, None, None, None, reason))
        return out
