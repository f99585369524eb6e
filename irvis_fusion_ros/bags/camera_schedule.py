"""The times at which a simulated camera takes frames: rate, jitter, drops, gaps, wrong clock.

    for shot in shots(CameraTiming(rate_hz=9.0, jitter_s=0.01), duration_s=60.0, seed=1): ...

The same timing and seed give the same shots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from irvis_fusion_core.errors import ConfigurationError


class CameraTiming(NamedTuple):
    """Timing of a camera's frames; seconds count from the start of the recording."""

    rate_hz: float = 30.0
    jitter_s: float = 0.0  # largest shift of a frame, uniformly distributed
    phase_s: float = 0.0  # from the start to the first frame
    stamp_offset_s: float = 0.0  # added to every stamp: error of the clock
    delay_s: float = 0.0  # from exposure to recording
    dropped_share: float = 0.0  # 0 … 1, at random
    gaps: tuple[tuple[float, float], ...] = ()  # (from, to): no frames
    frozen: tuple[tuple[float, float], ...] = ()  # (from, to): new stamps, unchanged image


class Shot(NamedTuple):
    """One frame: its time of recording, its stamp, and the time that its image shows, in s."""

    recorded_s: float
    stamp_s: float
    shows_s: float


def check_timing(name: str, timing: CameraTiming) -> None:
    """Raise ConfigurationError unless the timing is possible; `name` is the camera's."""
    rate_hz, jitter_s = timing.rate_hz, timing.jitter_s
    if not (math.isfinite(rate_hz) and 0 < rate_hz <= 1000):
        wrong = f"a rate above 0 and up to 1000 Hz, found {rate_hz}"
    elif not 0 <= jitter_s < 0.5 / rate_hz:
        wrong = (
            f"jitter of 0 to less than half a period ({0.5 / rate_hz:.4f} s), so that frames keep "
            f"their order, found {jitter_s}"
        )
    elif not 0 <= timing.dropped_share < 1:
        wrong = f"a share of drops from 0 to less than 1, found {timing.dropped_share}"
    elif timing.phase_s < 0 or timing.delay_s < 0:
        wrong = f"phase and delay of 0 s or more, found {timing.phase_s} and {timing.delay_s}"
    else:
        return
    raise ConfigurationError(f"expected for {name} images {wrong}")


def shots(timing: CameraTiming, duration_s: float, seed: int) -> Iterator[Shot]:
    """Yield the frames due within `duration_s`, in order."""
    random = np.random.default_rng(seed)
    number = 0
    while True:
        due_s = timing.phase_s + number / timing.rate_hz
        if due_s >= duration_s - 1e-9:
            return
        number += 1
        # Both are drawn for every frame: a drop does not change the jitter of later frames.
        moved_s = timing.jitter_s * (2.0 * random.random() - 1.0)
        lost = random.random() < timing.dropped_share
        taken_s = max(0.0, due_s + moved_s)
        if lost or _within(taken_s, timing.gaps) is not None:
            continue
        standing = _within(taken_s, timing.frozen)
        shows_s = taken_s if standing is None else standing
        yield Shot(taken_s + timing.delay_s, taken_s + timing.stamp_offset_s, shows_s)


def _within(at_s: float, spans: tuple[tuple[float, float], ...]) -> float | None:
    """Return the beginning of the span that contains `at_s`."""
    return next((start for start, end in spans if start <= at_s < end), None)
