"""What the node says of itself: /diagnostics once a second, and latency topics a frame.

Levels: OK while every visible frame is fused, WARN while visible frames go out unchanged or input
is bad, ERROR while an image is missing altogether (no visible input, no engine). Nothing here is
logged at frame rate: events are counted, and named once per kind.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Float32

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR

LATENCY_TOPICS = OrderedDict(
    [
        (
            "wait_ms",
            "from the visible message's callback until the worker took the frame",
        ),
        ("read_ms", "messages to arrays"),
        ("thermal_ms", "raw thermal to 8 bit; 0 when the IR frame was used before"),
        ("registration_ms", "IR frame to the visible image's grid; 0 as above"),
        ("engine_ms", "the fusion engine, frame in to frame out"),
        ("write_ms", "array to message"),
        ("publish_ms", "handing the messages to the middleware"),
        (
            "node_ms",
            "all of the above but the wait and the engine: the node's own cost",
        ),
        (
            "total_ms",
            "from the visible message's callback until the fused one was published",
        ),
        (
            "stamp_to_publish_ms",
            "from the visible stamp until published, on the node's clock",
        ),
        (
            "skew_ms",
            "visible stamp minus the stamp of the IR frame used, offset applied",
        ),
    ]
)
"""Topics under `~/debug/`, all std_msgs/msg/Float32 in milliseconds."""

KINDS_KEPT = 32
"""Different kinds of bad message that are told apart; more are counted as `other`."""


EXAMPLE_CHARACTERS = 600
"""An example is cut here: encodings and formats come from outside, and may be megabytes long."""


class Status(NamedTuple):
    """One line of /diagnostics before it becomes a message."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, str]


class EventCounter:
    """Counts events by kind, remembers one example each, and says which kind is new.

    Used for bad messages and for the reasons why a frame was not fused. Safe between threads.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, kind: str, example: str = "") -> bool:
        """Count one event; True when its kind is seen for the first time (log it then)."""
        with self._lock:
            if kind not in self._counts and len(self._counts) >= KINDS_KEPT:
                kind = "other"
            new = kind not in self._counts
            self._counts[kind] = self._counts.get(kind, 0) + 1
            if new:
                self._examples[kind] = example[:EXAMPLE_CHARACTERS]
            return new

    def counts(self) -> dict[str, int]:
        """Return a copy of the counts by kind."""
        with self._lock:
            return dict(self._counts)

    def total(self) -> int:
        """Return how many events there were."""
        with self._lock:
            return sum(self._counts.values())

    def describe(self) -> dict[str, str]:
        """Return `kind: count (first example)`."""
        with self._lock:
            return {
                kind: f"{count} ({self._examples[kind]})" if self._examples[kind] else str(count)
                for kind, count in sorted(self._counts.items())
            }


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


class LatencyTopics:
    """Publishes each latency as std_msgs/msg/Float32 under `~/debug/`, and keeps a window of it.

    A topic without subscriber costs nothing: `refresh` (on the executor's thread, now and then)
    looks who listens, `publish` (on the worker's, every frame) only looks at the answer.
    """

    def __init__(self, node: Node, window: int = 300) -> None:
        """Create the publishers; percentiles are over the last `window` frames."""
        self._node = node
        self._publishers = {
            name: node.create_publisher(Float32, "~/debug/" + name, 10) for name in LATENCY_TOPICS
        }
        self._wanted: dict[str, Any] = {}
        self._recent: dict[str, deque[float]] = {
            name: deque(maxlen=window) for name in LATENCY_TOPICS
        }
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Look which topics have subscribers."""
        self._wanted = {
            name: publisher
            for name, publisher in self._publishers.items()
            if publisher.get_subscription_count() > 0
        }

    def publish(self, values_ms: Mapping[str, float]) -> None:
        """Publish the values whose topics have a subscriber."""
        wanted = self._wanted
        with self._lock:
            for name, value in values_ms.items():
                self._recent[name].append(value)
        for name, publisher in wanted.items():
            if name in values_ms:
                publisher.publish(Float32(data=float(values_ms[name])))

    def describe(self) -> dict[str, str]:
        """Return `name: p50 / p99` over the window, for /diagnostics."""
        with self._lock:
            recent = {name: list(values) for name, values in self._recent.items() if values}
        return {
            name: "p50 {:.2f}, p99 {:.2f}".format(*np.percentile(values, (50, 99)))
            for name, values in recent.items()
        }

    def destroy(self) -> None:
        """Remove the publishers."""
        self._wanted = {}
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers = {}


def describe_registration(registration: Any) -> str:
    """Return one line for the log: the mode, and what it is off by at other depths."""
    values = registration.describe()
    mode = values.get("base", values["mode"])
    text = f"{values['mode']} over {mode}" if mode != values["mode"] else str(mode)
    if "expected_error_px" in values:
        text += f", exact at {values['depth_m']:g} m; expected error in visible pixels: "
        text += values["expected_error_px"]
    elif mode == "homography":
        text += ", exact at the depth at which it was made"
    return text


def registration_status(mode: str, registration: Any, problem: str) -> Status:
    """Return the status `registration`; `mode` is the one asked for.

    `registration` is what is used (None: the visible image alone), `problem` says why it is not
    what the parameters ask for.
    """
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


def make_diagnostics(stamp: Any, hardware_id: str, statuses: list[Status]) -> DiagnosticArray:
    """Return the message for `statuses`; `stamp` is a builtin_interfaces/msg/Time."""
    array = DiagnosticArray()
    array.header.stamp = stamp
    for status in statuses:
        message = DiagnosticStatus()
        message.level = status.level
        message.name = status.name
        message.message = status.message
        message.hardware_id = hardware_id
        message.values = [KeyValue(key=k, value=str(v)) for k, v in status.values.items()]
        array.status.append(message)
    return array
