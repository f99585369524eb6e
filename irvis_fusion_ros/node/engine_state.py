"""The state of the engine, as the worker, the frame processor and the reports see it."""

from __future__ import annotations

from collections.abc import Callable

STOPPED = "stopped"
LOADING = "loading"
WARMING_UP = "warming up"
READY = "ready"
FAILED = "failed"


class EngineState:
    """Holds the state; written on the worker's thread, read on both.

    Attributes:
        state: One of the names above.
        reason: Why, where there is something to say.
    """

    def __init__(self, on_change: Callable[[str, str], None]) -> None:
        """Start as STOPPED; `on_change(state, reason)` is told of every change."""
        self.state = STOPPED
        self.reason = ""
        self._on_change = on_change

    def set(self, state: str, reason: str = "") -> None:
        """Change the state and report it."""
        changed = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        if changed:
            self._on_change(state, reason)

    def __str__(self) -> str:
        """Return the state with its reason."""
        return self.state + (": " + self.reason if self.reason else "")
