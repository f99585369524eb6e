"""What waits for the worker: one slot for the newest frame, and behind it those it displaced.

The displaced are held, in order, until the frame at work is out, so that nothing is published
before what came earlier. When that takes too long the owner takes everything back (`give_back`),
publishes it unchanged, and publishes what follows directly until the worker returns. So every
frame comes out once, by `take` or by `give_back`, whatever the engine does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")

HELD_BYTES_MAX = 128 * 1024 * 1024
"""Bytes held behind the frame at work: 145 VGA colour images, 20 of 1920x1080."""


@dataclass(frozen=True)
class Delivery(Generic[Job]):
    """What the worker takes out of the mailbox: the newest job, and those it displaced."""

    job: Job
    displaced: list[Job]


class Mailbox(Generic[Job]):
    """Holds one job; a newer one displaces it. Used by one putting and one taking thread.

    Attributes:
        patience_s: How long a job may be at work before those behind it are not held any longer.
        displaced_count, given_up_count: Counts since the start.
        given_up: Whether the job at work was given back: nobody waits for it any more.
    """

    def __init__(
        self,
        patience_s: float = 1.0,
        held_bytes_max: int = HELD_BYTES_MAX,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Be full when the displaced weigh more than `held_bytes_max`."""
        self.patience_s = patience_s
        self.displaced_count = 0
        self.given_up_count = 0
        self._held_bytes_max = held_bytes_max
        self._clock_s = clock_s
        self._slot: tuple[Job, int] | None = None
        self._held: deque[Job] = deque()
        self._held_bytes = 0
        self._at_work: Delivery[Job] | None = None
        self.given_up = False
        self._since_s = 0.0
        self._condition = threading.Condition()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether the held jobs exceed their bound: call `give_back` before `put`."""
        return self._held_bytes > self._held_bytes_max

    def accepts(self, now_s: float) -> bool:
        """Return whether a job put now is taken soon: there is room, and no job is stuck."""
        with self._condition:
            if self.given_up or self._held_bytes > self._held_bytes_max:
                return False
            return self._at_work is None or now_s - self._since_s < self.patience_s

    def busy_s(self, now_s: float) -> float:
        """Return how long the present job has been at work; 0 when none is."""
        with self._condition:
            return 0.0 if self._at_work is None else now_s - self._since_s

    def put(self, job: Job, size_bytes: int = 0, hold: bool = True) -> Job | None:
        """Store `job`. What it displaces is held, or returned where `hold` is false."""
        with self._condition:
            displaced = None
            if self._slot is not None:
                self.displaced_count += 1
                if hold:
                    self._held.append(self._slot[0])
                    self._held_bytes += self._slot[1]
                else:
                    displaced = self._slot[0]
            self._slot = (job, size_bytes)
            self._condition.notify()
            return displaced

    def take(self, timeout_s: float) -> Delivery[Job] | None:
        """Return the newest job and the held ones, or None after `timeout_s` or a close.

        The job is then at work until `done`.
        """
        with self._condition:
            if self._slot is None and not self._closed:
                self._condition.wait(timeout_s)
            if self._slot is None or self._closed:
                return None
            self._at_work = Delivery(self._slot[0], list(self._held))
            self.given_up = False
            self._since_s = self._clock_s()
            self._slot, self._held_bytes = None, 0
            self._held.clear()
            return self._at_work

    def done(self) -> float:
        """End the work on what was taken last; return how many seconds it took."""
        with self._condition:
            self._at_work, self.given_up = None, False
            return self._clock_s() - self._since_s

    def give_back(self) -> list[Job]:
        """Take everything out in the order of arrival, that at work first (and only once)."""
        with self._condition:
            jobs: list[Job] = []
            if self._at_work is not None and not self.given_up:
                jobs += [*self._at_work.displaced, self._at_work.job]
                self.given_up = True
                self.given_up_count += 1
            jobs += self._held
            if self._slot is not None:
                jobs.append(self._slot[0])
            self._slot, self._held_bytes = None, 0
            self._held.clear()
            return jobs

    def close(self) -> None:
        """Wake whoever waits; nothing is taken afterwards."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
