"""The state of the engine, as the worker, the frame processor and the reports see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STOPPED = "stopped"
LOADING = "loading"
WARMING_UP = "warming up"
READY = "ready"
FAILED = "failed"
ON_TRIAL = "on trial, it failed at frames before"
"""Why an engine that was opened again is not called ready in the log yet."""

WARM_UP_LOG_S = 1.0
"""The shortest time between two log lines on a warm-up."""


@dataclass(eq=False)
class EngineState:
    """Holds the state; written on the worker's thread, read on both.

    `on_change(state, reason)` is told of every change; `state` is one of the names above.
    """

    on_change: Callable[[str, str], None]
    state: str = STOPPED
    reason: str = ""

    def set(self, state: str, reason: str = "") -> None:
        """Change the state and report it."""
        changed = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        if changed:
            self.on_change(state, reason)

    def __str__(self) -> str:
        return self.state + (": " + self.reason if self.reason else "")


@dataclass(eq=False)
class EngineLog:
    """Logs changes of the state, and never at frame rate; called on the worker's thread.

    A failure is told once, however often the engine is opened again, until it is ready.
    """

    get_logger: Any
    _tell: bool = True
    _tell_warm_up_from_s: float = 0.0
    _failure: str = ""
    _before: str = STOPPED

    def on_state(self, state: str, reason: str) -> None:
        """Tell that the engine is now in `state`, for `reason`."""
        text = "engine {}{}".format(state, ": " + reason if reason else "")
        before, self._before = self._before, state
        if state == FAILED:
            if reason != self._failure:
                self.get_logger().error(
                    text + "; the visible image passes through, the engine is opened again"
                )
            self._failure = reason
            return
        if self._failure:
            if state != READY or before == WARMING_UP or reason == ON_TRIAL:
                return
            self._failure = ""
        if state == WARMING_UP:  # at frame rate, where a camera changes its size at each frame
            self._tell = time.monotonic() >= self._tell_warm_up_from_s
            if self._tell:
                self._tell_warm_up_from_s = time.monotonic() + WARM_UP_LOG_S
        elif state != READY:
            self._tell = True
        if self._tell:
            self.get_logger().info(text)
