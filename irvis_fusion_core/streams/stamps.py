"""Time stamps as whole nanoseconds, and times in seconds as options."""

from __future__ import annotations

import math
from typing import Protocol

from irvis_fusion_core.errors import ConfigurationError

NS_PER_S = 1_000_000_000


class Stamp(Protocol):
    """The fields of builtin_interfaces/msg/Time."""

    sec: int
    nanosec: int


def stamp_ns(stamp: Stamp) -> int:
    """Return the stamp of a message header in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def check_seconds(name: str, value: float, bound: str = "> 0") -> None:
    """Raise ConfigurationError unless the value is finite and `bound`: "> 0", ">= 0" or ""."""
    if not (math.isfinite(value) and {"> 0": value > 0, ">= 0": value >= 0, "": True}[bound]):
        raise ConfigurationError(f"{name} must be finite seconds {bound}, got {value!r}")
