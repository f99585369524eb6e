"""Statuses of /diagnostics and the message made of them.

Levels: OK while every visible frame is fused, WARN while visible frames go out unchanged or input
is bad, ERROR while an image is missing altogether (no visible input, no engine).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from irvis_fusion_ros.pipeline.stages import Stages

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


class Status(NamedTuple):
    """One line of /diagnostics before it becomes a message."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, str]


class RateMeter:
    """Turns a growing count into a rate between two reports."""

    def __init__(self) -> None:
        """Start without a previous report."""
        self._previous: tuple[float, int] | None = None

    def rate_hz(self, now_s: float, count: int) -> float:
        """Return the events a second since the last call; 0 the first time."""
        previous, self._previous = self._previous, (now_s, count)
        if previous is None or now_s <= previous[0]:
            return 0.0
        return max(0.0, (count - previous[1]) / (now_s - previous[0]))


def registration_status(mode: str, stages: Stages) -> Status:
    """Return the status `registration`; `mode` is the one that the parameters ask for."""
    registration, problem = stages.registration, stages.problem
    values = {"asked_for": mode}
    if registration is not None:
        values.update((key, str(value)) for key, value in registration.describe().items())
    if problem:
        used = "passing the visible image" if registration is None else values["mode"]
        return Status("registration", WARN, f"using the fallback ({used}): {problem}", values)
    if "failure" in values:
        return Status("registration", WARN, "online alignment: " + values["failure"], values)
    if "state" in values:
        message = f"online: {values['state']}"
        if "correction_px" in values:
            message += f", correction {values['correction_px']} px"
        if "why_not_followed" in values:
            message += "; " + values["why_not_followed"]
        return Status("registration", OK, message, values)
    return Status("registration", OK, values["mode"], values)


def make_diagnostics(stamp: Time, hardware_id: str, statuses: list[Status]) -> DiagnosticArray:
    """Return the message for `statuses`."""
    array = DiagnosticArray()
    array.header.stamp = stamp
    for name, level, message, values in statuses:
        pairs = [KeyValue(key=k, value=str(v)) for k, v in values.items()]
        array.status.append(
            DiagnosticStatus(
                name=name, level=level, message=message, hardware_id=hardware_id, values=pairs
            )
        )
    return array
