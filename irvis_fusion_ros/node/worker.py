"""One thread that owns the engine, with a one-slot mailbox in front of it.

The executor's thread only puts jobs into the mailbox. The worker opens (or builds) the engine and
runs it; no other thread touches it, because a CUDA context belongs to a thread.

Jobs that a newer one displaced are held behind it, in order, until the one at work is out, so that
nothing is published before what came earlier. When that takes too long the owner takes everything
back (`Mailbox.give_back`), publishes it unchanged, and publishes what follows directly until the
worker returns. So every frame comes out once, by `take` or by `give_back`, whatever the engine
does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from irvis_fusion_ros.node import engine_state as states

THREAD_NAME = "fusion_worker"

HELD_BYTES_MAX = 128 * 1024 * 1024
"""Bytes held behind the frame at work: 145 VGA colour images, 20 of 1920x1080."""

SHORTEST_PATIENCE_S = 0.15
"""The shortest patience: 5 frames at 30 Hz, as many as the output keeps by default."""

PATIENCE_FACTOR = 2.0
"""An engine that takes this many times its usual time has stalled.

What is held behind it then leaves in one burst, which has to fit the queues of the subscribers.
"""

TIMES_KEPT = 64
"""Frames that tell the usual time of the engine: two seconds at 30 Hz."""

TIMES_NEEDED = 5
"""With fewer the engine is not known yet, and `stall_s` alone counts."""

USUAL_SHARE = 0.9
"""This share of the frames takes at most the usual time; a rare stall does not change it."""

FAULTS = (Exception, SystemExit)
"""What a library may raise; one that ends its thread must not end the worker."""

RETRY_FACTOR_MAX = 16
"""The longest wait before the engine is opened again, in units of the first one."""

FAILURES_BEFORE_REOPENING = 3
"""Failures of the engine in a row after which it is closed and opened again."""


GOOD_JOBS = 3
"""Jobs in a row after which an engine that was opened again is healthy; the first warms it up."""


class Closable(Protocol):
    """What the worker opens and closes."""

    def close(self) -> None:
        """Free the engine."""


Opened = TypeVar("Opened", bound=Closable)
Job = TypeVar("Job")


@dataclass(frozen=True)
class Delivery(Generic[Job]):
    """What the worker takes out of the mailbox: the newest job, and those it displaced."""

    job: Job
    displaced: list[Job]


@dataclass(eq=False)
class Mailbox(Generic[Job]):
    """Holds one job; a newer one displaces it. Used by one putting and one taking thread.

    Attributes:
        patience_s: How long a job may be at work before those behind it are not held any longer.
        held_bytes_max: It is full when the displaced weigh more.
        displaced_count, given_up_count: Counts since the start.
        given_up: Whether the job at work was given back: nobody waits for it any more.
    """

    patience_s: float = 1.0
    held_bytes_max: int = HELD_BYTES_MAX
    clock_s: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.displaced_count = 0
        self.given_up_count = 0
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
        return self._held_bytes > self.held_bytes_max

    def accepts(self, now_s: float) -> bool:
        """Return whether a job put now is taken soon: there is room, and no job is stuck."""
        with self._condition:
            if self.given_up or self._held_bytes > self.held_bytes_max:
                return False
            return self._at_work is None or now_s - self._since_s < self.patience_s

    def busy_s(self, now_s: float) -> float:
        """Return how long the present job has been at work; 0 when none is."""
        with self._condition:
            return 0.0 if self._at_work is None else now_s - self._since_s

    def put(self, job: Job, size_bytes: int = 0, hold: bool = True) -> Job | None:
        """Store `job`; return what it displaces, which is held unless `hold` is false."""
        with self._condition:
            displaced = None
            if self._slot is not None:
                self.displaced_count += 1
                displaced, displaced_bytes = self._slot
                if hold:
                    self._held.append(displaced)
                    self._held_bytes += displaced_bytes
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
            self._since_s = self.clock_s()
            self._slot, self._held_bytes = None, 0
            self._held.clear()
            return self._at_work

    def done(self) -> float:
        """End the work on what was taken last; return how many seconds it took."""
        with self._condition:
            self._at_work, self.given_up = None, False
            return self.clock_s() - self._since_s

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


@dataclass(eq=False)
class FusionWorker(Generic[Opened, Job]):
    """Opens the engine on its own thread and gives it one job after the other.

    After `FAILURES_BEFORE_REOPENING` failures in a row, and after a failed opening, the engine is
    opened again `retry_s` later, without end. The wait doubles, up to `RETRY_FACTOR_MAX`, until
    the engine has done `GOOD_JOBS`.

    Attributes:
        engine_state: Is told what the engine does.
        open_engine: Returns the engine or raises.
        process: Handles a delivery.
        on_failure: Called when `process` raised, so that the frame goes out unchanged.
        retry_s: Seconds until the engine is opened again for the first time.
        stall_s: The longest time that any frame may take.
        runs_engine: False for a job that is only passed through: its time says nothing about the
            engine.
        mailbox: What waits for the worker.
        openings, failures: Counts since the start.
        retries: How often it was opened again without having done its jobs since.
        retry_at_s: When it is opened again, as `time.monotonic()`.
    """

    engine_state: states.EngineState
    open_engine: Callable[[], Opened]
    process: Callable[[Opened, Delivery[Job]], None]
    on_failure: Callable[[Delivery[Job], BaseException], None]
    retry_s: float
    stall_s: float
    runs_engine: Callable[[Job], bool] = lambda job: True

    def __post_init__(self) -> None:
        self.mailbox: Mailbox[Job] = Mailbox(self.stall_s)
        self.openings = 0
        self.failures = 0
        self.retries = 0
        self.retry_at_s = 0.0
        self._on_trial = False
        self._times_s: deque[float] = deque(maxlen=TIMES_KEPT)
        self._stop = threading.Event()
        # A daemon: an engine that hangs in its driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Start the thread, which begins with opening the engine."""
        self.engine_state.set(states.LOADING, "opening the engine")
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End the thread and close the engine; False when it is still busy after `timeout_s`."""
        self._stop.set()
        self.mailbox.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_busy(self) -> bool:
        """Whether the thread still runs (after `stop`: the engine could not be interrupted)."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.engine_state.set(states.LOADING, "opening the engine")
            openings = self.openings
            try:
                with closing(self.open_engine()) as engine:
                    self.openings += 1
                    self._times_s.clear()
                    self.mailbox.patience_s = self.stall_s
                    self._serve(engine)
            except FAULTS as error:  # a dead thread would swallow all frames
                if self.openings == openings or not self._stop.is_set():
                    # Stopped while it served: the topics may be gone already.
                    self.failures += self.openings - openings
                    self._on_trial = self.openings > openings
                    self.engine_state.set(states.FAILED, f"{type(error).__name__}: {error}")
                    self._wait_for_retry()
        self.engine_state.set(states.STOPPED)

    def _serve(self, engine: Opened) -> None:
        """Work until the end or until the engine has failed too often."""
        in_a_row = good = 0
        self.engine_state.set(states.READY, states.ON_TRIAL if self._on_trial else "")
        while not self._stop.is_set():
            delivery = self.mailbox.take(0.5)
            if delivery is None:
                continue
            try:
                self.process(engine, delivery)
                if self.runs_engine(delivery.job):
                    in_a_row, good = 0, good + 1
                if self.retries and good >= GOOD_JOBS:
                    if self._on_trial:
                        self.engine_state.set(states.READY, f"again, opened {self.retries} times")
                    self.retries, self._on_trial = 0, False
            except FAULTS as error:  # as above: the frame goes out unchanged
                in_a_row, good = in_a_row + 1, 0
                self.failures += 1
                self.on_failure(delivery, error)
                if in_a_row >= FAILURES_BEFORE_REOPENING:
                    reason = f"{type(error).__name__}: {error}"
                    self._on_trial = True
                    self.engine_state.set(states.FAILED, f"failed {in_a_row} times: {reason}")
            finally:
                took_s = self.mailbox.done()
                if self.runs_engine(delivery.job):
                    self._learn(took_s)
            if self.engine_state.state == states.FAILED:
                self._wait_for_retry()
                return

    def _wait_for_retry(self) -> None:
        wait_s = self.retry_s * min(2**self.retries, RETRY_FACTOR_MAX)
        self.retries += 1
        self.retry_at_s = time.monotonic() + wait_s
        self._stop.wait(wait_s)

    def _learn(self, took_s: float) -> None:
        """Let the patience follow the usual time of the engine; slow frames count, too.

        An engine that needs 10 ms is given up after 0.15 s, one that needs 0.2 s after 0.4 s: it
        still fuses what it can, and a burst of held frames is at most twice the usual one.
        """
        self._times_s.append(took_s)
        times_s = sorted(self._times_s)
        if len(times_s) >= TIMES_NEEDED:
            usual_s = times_s[int(USUAL_SHARE * (len(times_s) - 1))]
            patience_s = max(SHORTEST_PATIENCE_S, PATIENCE_FACTOR * usual_s)
            self.mailbox.patience_s = min(self.stall_s, patience_s)
