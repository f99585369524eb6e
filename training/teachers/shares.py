"""The share of the pairs and the device of a process, and the start of several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch

from irvis_fusion_core.errors import ConfigurationError


class Share(NamedTuple):
    """The part of the work that one process does."""

    rank: int
    world_size: int
    local_rank: int


def share_of_environment() -> Share:
    """Return this process's share by torchrun's environment."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        rank, world_size, local = (int(os.environ.get(n, d)) for n, d in zip(names, "010"))
    except ValueError as error:
        raise ConfigurationError(f"expected numbers in {', '.join(names)}: {error}") from error
    if not 0 <= rank < world_size:
        raise ConfigurationError(f"expected RANK below WORLD_SIZE, found {rank} and {world_size}")
    return Share(rank, world_size, local)


def device_of(devices: str, share: Share) -> torch.device:
    """Return the named device; for ``auto`` the local rank's GPU, else the CPU."""
    if devices == "auto" or devices.isdigit():
        cuda = torch.cuda.is_available()
        return torch.device("cuda", share.local_rank) if cuda else torch.device("cpu")
    try:
        device = torch.device(devices)
    except RuntimeError as error:
        raise ConfigurationError(
            f"expected --devices auto, cpu, cuda:N or a number of processes, found {devices!r}"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("expected a GPU for --devices cuda, found none; try cpu")
    return device


def launch(module: str, count: int, arguments: Sequence[str]) -> int:
    """Run a module's command once for each device, as torchrun does; return the worst status."""
    base = [sys.executable, "-m", module, *arguments]
    running = []
    for rank in range(count):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        running.append(subprocess.Popen(base, env={**os.environ, **place}))
    try:
        return max(abs(process.wait()) for process in running)
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
        raise
