"""Latencies of each frame: topics under `~/debug/`, and percentiles for /diagnostics."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Float32

from irvis_fusion_ros.node.topics.qos import qos_event

LATENCY_TOPICS: Mapping[str, str] = {
    "wait_ms": "from the visible message's callback until the worker took the frame",
    "read_ms": "message to array",
    "thermal_ms": "raw thermal to 8 bit; 0 when the IR frame was used before",
    "registration_ms": "IR frame to the visible grid; 0 as above",
    "engine_ms": "the fusion engine, frame in to frame out",
    "write_ms": "array to message",
    "publish_ms": "handing the messages to the middleware",
    "node_ms": "all of the above but the wait and the engine: the node's own cost",
    "total_ms": "from the visible message's callback until the fused one was published",
    "stamp_to_publish_ms": "from the visible stamp until published, on the node's clock",
    "skew_ms": "stamp of the IR frame used, offset applied, minus the visible stamp",
}
"""Topics under `~/debug/`, all std_msgs/msg/Float32 in milliseconds."""


class LatencyTopics:
    """Publishes each latency as std_msgs/msg/Float32 under `~/debug/`, and keeps a window of it.

    A topic without subscriber costs nothing: `refresh` (on the executor's thread, now and then)
    looks who listens, `publish` (on the worker's, every frame) only looks at the answer.
    """

    def __init__(self, node: Node, window: int = 300) -> None:
        """Create the publishers; percentiles are over the last `window` frames."""
        self._node = node
        # Every event of every publisher costs at each turn of rclpy's executor.
        silent = qos_event.PublisherEventCallbacks(use_default_callbacks=False)
        self._publishers = {
            name: node.create_publisher(Float32, "~/debug/" + name, 10, event_callbacks=silent)
            for name in LATENCY_TOPICS
        }
        self._wanted: dict[str, Any] = {}
        self._recent: deque[Mapping[str, float]] = deque(maxlen=window)
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
            self._recent.append(values_ms)
        for name, publisher in wanted.items():
            if name in values_ms:
                publisher.publish(Float32(data=float(values_ms[name])))

    def describe(self) -> dict[str, str]:
        """Return `name: p50 / p99` over the window, for /diagnostics."""
        with self._lock:
            recent = list(self._recent)
        shown = {}
        for name in LATENCY_TOPICS:
            values = sorted(frame[name] for frame in recent if name in frame)
            if values:
                p50, p99 = (values[round(share * (len(values) - 1))] for share in (0.5, 0.99))
                shown[name] = f"p50 {p50:.2f}, p99 {p99:.2f}"
        return shown

    def destroy(self) -> None:
        """Remove the publishers."""
        self._wanted = {}
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers = {}
