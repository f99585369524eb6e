"""Latency and throughput of engines, stage by stage.

Calls are interleaved, so that a change of the machine's speed affects all of them: ratios hold
where milliseconds do not.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.backends.cuda_device import find_gpu
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.frames import normalize_pair, swap_order


class Timing(NamedTuple):
    """Durations of one call over all rounds, milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    p99_ms: float
    rounds: int

    @property
    def rate_hz(self) -> float:
        """Calls per second at the median."""
        return 1e3 / self.median_ms if self.median_ms > 0 else float("inf")


def summarize(durations_s: Sequence[float]) -> Timing:
    """Return median and percentiles (linear between neighbours) of durations in seconds."""
    if not durations_s:
        raise ConfigurationError("expected at least one measured round, found none")
    median, p10, p90, p99 = np.percentile(np.asarray(durations_s) * 1e3, [50, 10, 90, 99]).tolist()
    return Timing(median, p10, p90, p99, len(durations_s))


def time_interleaved(
    calls: dict[str, Callable[[], Any]],
    rounds: int = 30,
    warm_up: int = 3,
    turn_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time each call once per round or, with `turn_s`, repeatedly within its turn.

    Args:
        rounds: number of turns of each call; the order rotates from round to round.
        warm_up: number of calls before, not measured.
        turn_s: length of a turn, seconds. The first of several calls in a turn is not counted:
            it finds caches and threads as the previous engine left them.

    Raises:
        ConfigurationError: no calls, or fewer than one round.
    """
    if not calls or rounds < 1 or warm_up < 0:
        raise ConfigurationError(
            f"expected calls and at least one round, found {len(calls)} calls, {rounds} rounds "
            f"and a warm-up of {warm_up}"
        )
    for call in calls.values():
        for _ in range(warm_up):
            call()
    names = list(calls)
    durations: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            durations[name] += _take_turn(calls[name], turn_s, clock)
    return {name: summarize(taken) for name, taken in durations.items()}


def _take_turn(call: Callable[[], Any], turn_s: float, clock: Callable[[], float]) -> list[float]:
    taken: list[float] = []
    began = now = clock()
    while not taken or now - began < turn_s:
        call()
        before, now = now, clock()
        taken.append(now - before)
    return taken[1:] or taken


def stage_calls(fusion: Any, ir: np.ndarray, vis: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return the stages of `RealtimeFusion.fuse_frame` as calls for `time_interleaved`.

    `frames`: check and normalise the pair; `engine`: the backend, uint8 to uint8; `swap`: swap the
    channel order twice, as frames of the other order need; `fuse_frame`: everything, with frames
    in the engine's own order.
    """
    backend = fusion.backend
    order = backend.options.vis_order
    engine_ir, engine_vis = normalize_pair(ir, vis, order)
    return {
        "frames": lambda: normalize_pair(ir, vis, order),
        "engine": lambda: backend.fuse(engine_ir, engine_vis),
        "swap": lambda: swap_order(swap_order(engine_vis)),
        "fuse_frame": lambda: fusion.fuse_frame(ir, vis, order),
    }


def example_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a deterministic pair with structure at all scales, which leaves no short cuts."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(x / p) * np.cos(y / (p + 3)) for p in (5.0, 17.0, 61.0)]
    vis = np.stack([127.5 + 120.0 * wave for wave in waves], axis=2).astype(np.uint8)
    ir = (127.5 + 40.0 * (waves[0] + waves[1] + waves[2])).astype(np.uint8)
    return ir[:, :, np.newaxis], vis


def machine() -> dict[str, str]:
    """Return processor, cores that this process may use, GPU, system and Python."""
    gpu, _ = find_gpu(0)
    return {
        "processor": cpu_info("model name", "Model") or platform.processor() or platform.machine(),
        "cores": str(usable_cores()),
        "gpu": gpu.name if gpu else "none",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def usable_cores() -> int:
    """Return the number of cores that this process may use, in a container fewer than all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_info(*names: str) -> str:
    """Return the first entry of /proc/cpuinfo with one of these names; "" where there is none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith(names):
                    return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return ""
