"""One thread that owns the engine, a one-slot mailbox before it, and a gate behind it.

The executor's thread only puts frames into the mailbox. The worker opens (or builds) the engine,
warms it up and runs it; nobody else touches it, since CUDA contexts belong to a thread. While the
worker cannot take frames (`accepts` is false) the caller publishes the visible image itself; the
gate keeps what is published in the order in which it arrived.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from irvis_fusion_ros.node.mailbox import Delivery, Mailbox

Job = TypeVar("Job")

SHORTEST_PATIENCE_S = 0.15
"""A frame may always take so long: 5 frames at 30 Hz, as many as the output keeps by default."""

PATIENCE_FACTOR = 5.0
"""An engine that takes so many times longer than it is used to has stalled."""

TIMES_KEPT = 64
"""Frames that tell what the engine is used to: two seconds at 30 Hz."""

TIMES_NEEDED = 5
"""With fewer the engine is not known yet, and `stall_s` alone counts."""

USUAL_SHARE = 0.9
"""So many of them took at most what is usual: a stall now and then does not change that."""

FAILURES_BEFORE_REOPENING = 3
"""Failures of the engine in a row after which it is closed and opened again."""

STOPPED = "stopped"
LOADING = "loading"
WARMING_UP = "warming up"
READY = "ready"
FAILED = "failed"


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
        runs_engine: Callable[[Job], bool] = lambda job: True,
    ) -> None:
        """Store what to call; `start` begins. `on_state(state, reason)` is told every change.

        `runs_engine(job)` is false of a job that is only passed through: its time says nothing
        of the engine. `stall_s` is the longest that any frame may take.
        """
        self.mailbox: Mailbox[Job] = Mailbox()
        self.state = STOPPED
        self.reason = ""
        self.openings = 0
        self.failures = 0
        self.patience_s = stall_s
        """How long a frame may be at work before those behind it are not held any longer.

        It follows the engine: one that needs 10 ms is given up after 0.15 s, so that a burst of
        held frames fits the queues downstream; one that needs 0.2 s still fuses what it can.
        """
        self.stall_s = stall_s
        self.retry_s = retry_s
        self._open_engine = open_engine
        self._process = process
        self._on_failure = on_failure
        self._on_state = on_state
        self._runs_engine = runs_engine
        self._times_s: deque[float] = deque(maxlen=TIMES_KEPT)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

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
        box = self.mailbox
        if self.state != READY or box.given_up or box.is_full:
            return False
        return box.busy_s(now_s) < self.patience_s

    def submit(self, job: Job, size_bytes: int = 0, hold: bool = True) -> Job | None:
        """Hand `job` over. A waiting one is displaced: held, or returned if not to be held."""
        return self.mailbox.put(job, size_bytes, hold)

    def abandon(self) -> list[Job]:
        """Take back all jobs, the one at work first: the caller publishes them unchanged."""
        return self.mailbox.give_back()

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
            self._times_s.clear()
            self.patience_s = self.stall_s
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
                took_s = self.mailbox.done()
                if self._runs_engine(delivery.job):
                    self._learn(took_s)
            if self.state == FAILED:
                self._stop.wait(self.retry_s)
                return

    def _learn(self, took_s: float) -> None:
        """Follow with `patience_s` what the engine takes; what took too long counts, too."""
        self._times_s.append(took_s)
        times_s = sorted(self._times_s)
        if len(times_s) >= TIMES_NEEDED:
            usual_s = times_s[int(USUAL_SHARE * (len(times_s) - 1))]
            self.patience_s = min(
                self.stall_s, max(SHORTEST_PATIENCE_S, PATIENCE_FACTOR * usual_s)
            )
