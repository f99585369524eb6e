"""Counts events by kind and remembers the latest example of each."""

from __future__ import annotations

import threading
from typing import Callable, NamedTuple

KINDS_KEPT = 32
"""Kinds that a running node tells apart: what names them comes from outside."""

EXAMPLE_CHARACTERS = 600
"""An example is cut here: encodings and formats come from outside, and may be megabytes long."""

Note = Callable[[str, str], object]
"""`note(kind, text)`: something odd happened; `kind` is stable, `text` is for a person."""


class Event(NamedTuple):
    """Something that happened `times` times; `text` describes the last."""

    times: int
    text: str


class EventCounter:
    """Counts bad messages, and reasons why frames were not fused. Safe between threads."""

    def __init__(self, kinds_kept: int = KINDS_KEPT) -> None:
        """Start with nothing; kinds beyond `kinds_kept` are counted as `other`."""
        self._kinds_kept = kinds_kept
        self._events: dict[str, Event] = {}
        self._lock = threading.Lock()

    def add(self, kind: str, example: str = "") -> bool:
        """Count one event; True when its kind is seen for the first time (log it then)."""
        with self._lock:
            if kind not in self._events and len(self._events) >= self._kinds_kept:
                kind = "other"
            before = self._events.get(kind)
            times = 1 if before is None else before.times + 1
            self._events[kind] = Event(times, example[:EXAMPLE_CHARACTERS])
            return before is None

    def events(self) -> dict[str, Event]:
        """Return a copy of the events by kind."""
        with self._lock:
            return dict(self._events)

    def counts(self) -> dict[str, int]:
        """Return the counts by kind."""
        return {kind: event.times for kind, event in self.events().items()}

    def total(self) -> int:
        """Return the number of events."""
        return sum(self.counts().values())

    def describe(self) -> dict[str, str]:
        """Return `kind: count (latest example)`, sorted by kind."""
        return {
            kind: f"{event.times} ({event.text})" if event.text else str(event.times)
            for kind, event in sorted(self.events().items())
        }
