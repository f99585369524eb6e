"""One thread that owns the engine, with a one-slot mailbox in front of it.

The executor's thread only puts jobs into the mailbox. The worker opens (or builds) the engine and
runs it; no other thread touches it, because a CUDA context belongs to a thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from irvis_fusion_ros.node.engine_state import FAILED, LOADING, READY, STOPPED, EngineState
from irvis_fusion_ros.node.mailbox import Delivery, Mailbox

SHORTEST_PATIENCE_S = 0.15
"""The shortest patience: 5 frames at 30 Hz, as many as the output keeps by default."""

PATIENCE_FACTOR = 5.0
"""An engine that takes this many times its usual time has stalled."""

TIMES_KEPT = 64
"""Frames that tell the usual time of the engine: two seconds at 30 Hz."""

TIMES_NEEDED = 5
"""With fewer the engine is not known yet, and `stall_s` alone counts."""

USUAL_SHARE = 0.9
"""This share of the frames takes at most the usual time; a rare stall does not change it."""

FAILURES_BEFORE_REOPENING = 3
"""Failures of the engine in a row after which it is closed and opened again."""


class Closable(Protocol):
    """What the worker opens and closes."""

    def close(self) -> None:
        """Free the engine."""


THREAD_NAME = "fusion_worker"

Opened = TypeVar("Opened", bound=Closable)
Job = TypeVar("Job")


@dataclass(eq=False)
class FusionWorker(Generic[Opened, Job]):
    """Opens the engine on its own thread and gives it one job after the other.

    After `FAILURES_BEFORE_REOPENING` failures in a row, and after a failed opening, the engine is
    opened again `retry_s` later, without end.

    Attributes:
        state: Is told what the engine does.
        open_engine: Returns the engine or raises.
        process: Handles a delivery.
        on_failure: Called when `process` raised, so that the frame goes out unchanged.
        retry_s: Seconds until the engine is opened again.
        stall_s: The longest time that any frame may take.
        runs_engine: False for a job that is only passed through: its time says nothing about the
            engine.
        mailbox: What waits for the worker.
        openings, failures: Counts since the start.
    """

    state: EngineState
    open_engine: Callable[[], Opened]
    process: Callable[[Opened, Delivery[Job]], None]
    on_failure: Callable[[Delivery[Job], Exception], None]
    retry_s: float
    stall_s: float
    runs_engine: Callable[[Job], bool] = lambda job: True

    def __post_init__(self) -> None:
        self.mailbox: Mailbox[Job] = Mailbox(self.stall_s)
        self.openings = 0
        self.failures = 0
        self._times_s: deque[float] = deque(maxlen=TIMES_KEPT)
        self._stop = threading.Event()
        # A daemon: an engine that hangs in its driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Start the thread, which begins with opening the engine."""
        self.state.set(LOADING, "opening the engine")
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
            self.state.set(LOADING, "opening the engine")
            openings = self.openings
            try:
                with closing(self.open_engine()) as engine:
                    self.openings += 1
                    self._times_s.clear()
                    self.mailbox.patience_s = self.stall_s
                    self._serve(engine)
            except Exception as error:  # noqa: BLE001 - a dead thread would swallow all frames
                if self.openings == openings or not self._stop.is_set():
                    # Stopped while it served: the topics may be gone already.
                    self.failures += self.openings - openings
                    self.state.set(FAILED, f"{type(error).__name__}: {error}")
                    self._stop.wait(self.retry_s)
        self.state.set(STOPPED)

    def _serve(self, engine: Opened) -> None:
        """Work until the end or until the engine has failed too often."""
        in_a_row = 0
        self.state.set(READY)
        while not self._stop.is_set():
            delivery = self.mailbox.take(0.5)
            if delivery is None:
                continue
            try:
                self.process(engine, delivery)
                in_a_row = 0
            except Exception as error:  # noqa: BLE001 - as above: the frame goes out unchanged
                in_a_row += 1
                self.failures += 1
                self.on_failure(delivery, error)
                if in_a_row >= FAILURES_BEFORE_REOPENING:
                    reason = f"{type(error).__name__}: {error}"
                    self.state.set(FAILED, f"failed {in_a_row} times: {reason}")
            finally:
                took_s = self.mailbox.done()
                if self.runs_engine(delivery.job):
                    self._learn(took_s)
            if self.state.state == FAILED:
                self._stop.wait(self.retry_s)
                return

    def _learn(self, took_s: float) -> None:
        """Let the patience follow the usual time of the engine; slow frames count, too.

        An engine that needs 10 ms is given up after 0.15 s, so that a burst of held frames fits
        the queues downstream; one that needs 0.2 s still fuses what it can.
        """
        self._times_s.append(took_s)
        times_s = sorted(self._times_s)
        if len(times_s) >= TIMES_NEEDED:
            usual_s = times_s[int(USUAL_SHARE * (len(times_s) - 1))]
            patience_s = max(SHORTEST_PATIENCE_S, PATIENCE_FACTOR * usual_s)
            self.mailbox.patience_s = min(self.stall_s, patience_s)
