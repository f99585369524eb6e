"""Time stamps as whole nanoseconds."""

from __future__ import annotations

from typing import Protocol

NS_PER_S = 1_000_000_000


class Stamp(Protocol):
    """The fields of builtin_interfaces/msg/Time."""

    sec: int
    nanosec: int


def stamp_ns(stamp: Stamp) -> int:
    """Return the stamp of a message header in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
