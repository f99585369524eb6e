"""What becomes of frames for which the engine is too slow: `on_overrun`.

A few frames that the engine missed go out unchanged. Where it misses many, fused and unchanged
frames would alternate, so `auto` publishes the fused ones alone, until the engine keeps up again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.events import Note

OVERLOAD_SHARE, OVERLOAD_S = 0.25, 2.0
"""Overload: more than this share of the frames overran, over a period of at least so long."""
FITS_SHARE, FITS_S = 0.1, 5.0
"""It fits again: at most this share did. Both limits differ, so that the mode does not toggle."""
FRAMES_NEEDED = 8
"""With fewer a period goes on: a single late frame of a slow camera is no overload."""

ADVICE = "take a smaller model, another precision, or smaller images"


@dataclass(eq=False)
class Overload:
    """Counts overruns; `note` is told of an overload. Safe between threads.

    Attributes:
        only_fused: Whether `auto` publishes only fused frames now.
    """

    live: LiveSettings
    note: Note
    clock_s: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.only_fused = False
        self._since_s: float | None = None
        self._frames = self._overruns = 0
        self._lock = threading.Lock()

    @property
    def drops(self) -> bool:
        """Whether a frame that a newer one displaces is dropped."""
        policy = self.live.current.ir_loss.on_overrun
        return self.only_fused if policy == "auto" else policy == "drop"

    def count(self, overran: bool) -> None:
        """Take a frame for the engine; `overran`: it displaced one that was to be fused."""
        if self.live.current.ir_loss.on_overrun != "auto":
            self.end()
            return
        with self._lock:
            now_s = self.clock_s()
            since_s = self._since_s = now_s if self._since_s is None else self._since_s
            self._frames += 1
            self._overruns += overran
            period_s = FITS_S if self.only_fused else OVERLOAD_S
            if now_s - since_s < period_s or self._frames < FRAMES_NEEDED:
                return
            share, before = self._overruns / self._frames, self.only_fused
            self._since_s, self._frames, self._overruns = now_s, 0, 0
            self.only_fused = share > (FITS_SHARE if before else OVERLOAD_SHARE)
            begins = self.only_fused and not before
        if begins:
            text = f"the engine is too slow for {share:.0%} of the frames; only fused frames are"
            self.note("overload", f"{text} published until it keeps up; {ADVICE}")

    def end(self) -> None:
        """Pass frames again, and start to count: no fused frames come, or the cameras changed."""
        with self._lock:
            self.only_fused, self._since_s = False, None
            self._frames = self._overruns = 0
