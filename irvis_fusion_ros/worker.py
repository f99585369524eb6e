"""One thread that owns the engine, a one-slot mailbox before it, and a gate behind it.

The executor's thread only puts frames into the mailbox. The worker opens (or builds) the engine,
warms it up and runs it; nobody else touches it, since CUDA contexts belong to a thread. While the
worker cannot take frames (`accepts` is false) the caller publishes the visible picture itself; the
gate keeps what is published in the order in which it arrived.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

Job = TypeVar("Job")

DISPLACED_KEPT = 8
"""Displaced frames that wait for the worker: a quarter of a second at 30 Hz, 7 MB at VGA."""

FAILURES_BEFORE_REOPENING = 3
"""Failures of the engine in a row after which it is closed and opened again."""

STOPPED = "stopped"
LOADING = "loading"
WARMING_UP = "warming up"
READY = "ready"
FAILED = "failed"


class Delivery(NamedTuple):
    """What the worker takes out of the mailbox: the newest job, and those it displaced."""

    job: Any
    displaced: list[Any]


class Mailbox(Generic[Job]):
    """Holds one job; a newer one displaces it. The displaced are kept apart, oldest first."""

    def __init__(self, displaced_kept: int = DISPLACED_KEPT) -> None:
        """Keep up to `displaced_kept` displaced jobs; older ones are dropped and counted."""
        self.displaced_count = 0
        self.dropped_count = 0
        self._kept = displaced_kept
        self._slot: Job | None = None
        self._displaced: deque[Job] = deque()
        self._condition = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> None:
        """Store `job`; never blocks longer than the lock is held."""
        with self._condition:
            if self._slot is not None:
                self.displaced_count += 1
                self._displaced.append(self._slot)
                if len(self._displaced) > self._kept:
                    self._displaced.popleft()
                    self.dropped_count += 1
            self._slot = job
            self._condition.notify()

    def take(self, timeout_s: float) -> Delivery | None:
        """Return the newest job and the displaced ones, or None after `timeout_s` or a close."""
        with self._condition:
            self._condition.wait_for(lambda: self._slot is not None or self._closed, timeout_s)
            if self._slot is None or self._closed:
                return None
            delivery = Delivery(self._slot, list(self._displaced))
            self._slot = None
            self._displaced.clear()
            return delivery

    def drain(self) -> list[Job]:
        """Take everything out, oldest first."""
        with self._condition:
            jobs = list(self._displaced)
            if self._slot is not None:
                jobs.append(self._slot)
            self._slot = None
            self._displaced.clear()
            return jobs

    def close(self) -> None:
        """Wake whoever waits; nothing is handed out afterwards."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class InOrder:
    """A gate that lets a numbered thing pass once, and never after a later one."""

    def __init__(self) -> None:
        """Let anything pass first."""
        self._last = -1
        self._lock = threading.Lock()

    def run(self, number: int, publish: Callable[[], None]) -> bool:
        """Call `publish` and return True, or return False when `number` comes too late."""
        with self._lock:
            if number <= self._last:
                return False
            self._last = number
            publish()
            return True


class FusionWorker(Generic[Job]):
    """Opens the engine on its own thread and gives it one job after the other.

    `open_engine()` returns the engine or raises; `process(engine, delivery)` handles what came out
    of the mailbox and may call `set_state` (a warm-up); `on_failure(delivery, error)` is called on
    the worker's thread when `process` raised, so that the frame goes out unchanged. After
    `FAILURES_BEFORE_REOPENING` failures in a row, and after a failed opening, the engine is opened
    again `retry_s` later, for as long as it takes.
    """

    def __init__(
        self,
        open_engine: Callable[[], Any],
        process: Callable[[Any, Delivery], None],
        on_failure: Callable[[Delivery, Exception], None],
        on_state: Callable[[str, str], None],
        retry_s: float,
        stall_s: float,
    ) -> None:
        """Store what to call; `start` begins. `on_state(state, reason)` is told every change."""
        self.mailbox: Mailbox[Job] = Mailbox()
        self.state = STOPPED
        self.reason = ""
        self.openings = 0
        self.failures = 0
        self.stall_s = stall_s
        self.retry_s = retry_s
        self._open_engine = open_engine
        self._process = process
        self._on_failure = on_failure
        self._on_state = on_state
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._current: Delivery | None = None
        self._busy_since_s: float | None = None

    def start(self) -> None:
        """Start the thread, which begins with opening the engine."""
        self.set_state(LOADING, "opening the engine")
        # A daemon: an engine that hangs in its driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="fusion_worker", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End the thread and close the engine; False when it is still busy after `timeout_s`."""
        self._stop.set()
        self.mailbox.close()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_busy(self) -> bool:
        """Whether the thread still runs (after `stop`: the engine could not be interrupted)."""
        return self._thread is not None and self._thread.is_alive()

    def accepts(self, now_s: float) -> bool:
        """Whether a frame put now will be looked at soon: the engine is ready and not stuck."""
        if self.state != READY:
            return False
        with self._lock:
            return self._busy_since_s is None or now_s - self._busy_since_s < self.stall_s

    def submit(self, job: Job) -> None:
        """Hand `job` over; a waiting one is displaced."""
        self.mailbox.put(job)

    def abandon(self) -> list[Job]:
        """Take back all jobs, the one at work first: the caller publishes them unchanged."""
        with self._lock:
            current, self._current = self._current, None
        jobs = [] if current is None else current.displaced + [current.job]
        return jobs + self.mailbox.drain()

    def set_state(self, state: str, reason: str) -> None:
        """Change the state and tell it."""
        changed = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        if changed:
            self._on_state(state, reason)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.set_state(LOADING, "opening the engine")
            try:
                engine = self._open_engine()
            except Exception as error:  # noqa: BLE001 - engines raise anything; handled
                self.set_state(FAILED, f"{type(error).__name__}: {error}")
                self._stop.wait(self.retry_s)
                continue
            self.openings += 1
            try:
                try:
                    self._serve(engine)
                finally:
                    engine.close()
            except Exception as error:  # noqa: BLE001 - a dead thread would swallow all frames
                if not self._stop.is_set():  # stopped: the topics may be gone already
                    self.failures += 1
                    self.set_state(FAILED, f"{type(error).__name__}: {error}")
                    self._stop.wait(self.retry_s)
        self.set_state(STOPPED, "")

    def _serve(self, engine: Any) -> None:
        """Work until the end or until the engine has failed too often."""
        in_a_row = 0
        self.set_state(READY, "")
        while not self._stop.is_set():
            delivery = self.mailbox.take(0.5)
            if delivery is None:
                continue
            with self._lock:
                self._current, self._busy_since_s = delivery, time.monotonic()
            try:
                self._process(engine, delivery)
                in_a_row = 0
            except Exception as error:  # noqa: BLE001 - as above: the frame goes out unchanged
                in_a_row += 1
                self.failures += 1
                self._on_failure(delivery, error)
                if in_a_row >= FAILURES_BEFORE_REOPENING:
                    reason = f"{type(error).__name__}: {error}"
                    self.set_state(FAILED, f"failed {in_a_row} times: {reason}")
            finally:
                with self._lock:
                    self._current, self._busy_since_s = None, None
            if self.state == FAILED:
                self._stop.wait(self.retry_s)
                return
