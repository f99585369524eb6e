"""Which messages of a subscription are new, and how many did not arrive.

rclpy (Jazzy and newer) tells with each message when its publisher sent it and under which number;
not which publisher it was. Time and number together name a message, whichever of two subscriptions
takes it. Numbers grow by one for each publisher, so a gap is what the reader's queue or the
middleware lost. This file imports no ROS.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

Identity = Union["tuple[int, int]", bytes]

NUMBER, SENT = "publication_sequence_number", "source_timestamp"
KEPT = 200
"""Messages that are remembered: more than two queues of the middleware hold together."""
STREAMS_MAX = 8


@dataclass(eq=False)
class Arrivals:
    """Remembers what arrived. `publishers` returns how many publishers are matched now.

    Attributes:
        missing: Messages that were published and did not arrive; None where the middleware does
            not number them, or this rclpy does not tell (Humble).
    """

    publishers: Callable[[], int] = lambda: 1

    def __post_init__(self) -> None:
        self.missing: int | None = None
        self._seen: OrderedDict[Identity, None] = OrderedDict()
        self._last: list[int] = []  # number of each publisher's newest message, newest last

    def begin(self) -> None:
        """Start after a pause, in which what was published is not missing."""
        self._seen.clear()
        self._last.clear()

    def is_new(self, raw: bytes, info: Mapping[str, Any], repeats: bool = False) -> bool:
        """Take a serialized message with a header; False where it was taken before.

        Without numbers the header's stamp names a message, and cameras may send equal ones: it
        counts only where messages may be repeated.
        """
        number, sent = info.get(NUMBER), info.get(SENT)
        if number is not None and sent:
            identity: Identity = (sent, number)
            is_new = identity not in self._seen
        else:
            identity = bytes(raw[4:12])  # behind the encapsulation
            is_new = not (repeats and identity in self._seen and any(identity))
        if is_new:
            self._seen[identity] = None
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
            if number is not None and self._last and number == self._last[-1] + 1:
                self._last[-1] = number
            elif number is not None:
                self._follow(int(number))
        return is_new

    def _follow(self, number: int) -> None:
        """Count what is missing before `number`.

        The publisher is the one whose last number lies nearest below. Where that is another one,
        the sum over all publishers is the same.
        """
        self.missing = self.missing or 0
        before = max((last for last in self._last if last < number), default=None)
        is_gap = before is not None and number > before + 1
        if is_gap and len(self._last) < self.publishers():
            before = None  # the first message of one more publisher
        if before is not None:
            self._last.remove(before)
            self.missing += number - before - 1
        self._last = [*self._last[1 - STREAMS_MAX :], number]
