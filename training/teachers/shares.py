"""Which part of the pairs a process takes, on which device, and starting several of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch

from irvis_fusion_core.errors import ConfigurationError


class Share(NamedTuple):
    """Which part of the work is this process's."""

    rank: int
    world_size: int
    local_rank: int


def share_of_environment() -> Share:
    """From torchrun's environment."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        rank, world_size, local = (int(os.environ.get(n, d)) for n, d in zip(names, "010"))
    except ValueError as error:
        raise ConfigurationError(f"expected numbers in {', '.join(names)}: {error}") from error
    if not 0 <= rank < world_size:
        raise ConfigurationError(f"expected RANK below WORLD_SIZE, found {rank} and {world_size}")
    return Share(rank, world_size, local)


def device_of(devices: str, share: Share) -> torch.device:
    """The GPU of this process's local rank, else the CPU; or the device that is named.

    Raises:
        ConfigurationError: No such device.
    """
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
        raise ConfigurationError(
            "expected a GPU for --devices cuda, found none; try --devices cpu"
        )
    return device


def launch(module: str, count: int, arguments: Sequence[str]) -> int:
    """A module's command once for each device, as torchrun would start it; the worst status."""
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
