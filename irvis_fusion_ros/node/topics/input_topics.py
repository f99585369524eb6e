"""The topics that the node takes: subscribed on demand, with what the publishers offer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_ros.node.topics.calibration_topics import IR_INFO
from irvis_fusion_ros.node.topics.qos import MatchedSubscription
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings

INFO = "vis/camera_info"


def image_topic(settings: Settings, camera: str) -> str:
    """Return the topic of the images of `camera` (ir, vis), as its transport has it."""
    topic = camera + "/image_raw"
    compressed = settings.topics.camera(camera).transport == "compressed"
    return topic + "/compressed" if compressed else topic


def input_topics(settings: Settings) -> list[str]:
    """Return the names, not yet resolved, of all that is or may be subscribed to."""
    return [image_topic(settings, "ir"), image_topic(settings, "vis"), INFO, IR_INFO]


class CameraTopics:
    """The subscriptions `ir`, `vis` and `vis_info`, opened and closed together."""

    def __init__(
        self, node: Node, live: LiveSettings, callbacks: Mapping[str, Callable[[Any], None]]
    ) -> None:
        """Subscribe to nothing yet. `callbacks` has one for each name above."""
        self.silent: dict[str, str | None] = {}
        """Why nothing arrives, by name; None while something does."""
        self._node = node
        self._live = live

        self.subscriptions: dict[str, MatchedSubscription] = {}
        for name in ("ir", "vis", "vis_info"):
            is_info, camera = name == "vis_info", name.split("_")[0]
            transport, reliability, depth = live.current.topics.camera(camera)
            topic = INFO if is_info else image_topic(live.current, camera)
            kind = CompressedImage if transport == "compressed" else Image
            self.subscriptions[name] = MatchedSubscription(
                node, CameraInfo if is_info else kind, topic, callbacks[name], reliability, depth
            )

    def __getitem__(self, name: str) -> MatchedSubscription:
        """Return one of them."""
        return self.subscriptions[name]

    def follow(self, wanted: bool) -> bool:
        """Subscribe or unsubscribe; True when this has just closed what was open."""
        closed = False
        for subscription in self.subscriptions.values():
            if wanted and not subscription.is_open:
                subscription.open(time.monotonic())
            elif not wanted and subscription.is_open:
                subscription.close()
                closed = True
        return closed

    def watch(self) -> None:
        """Follow what the publishers offer, and log once when an input falls silent."""
        now_s = time.monotonic()
        for name, subscription in self.subscriptions.items():
            changed = subscription.poll(now_s)
            if changed:
                self._node.get_logger().info(changed)
            silent = subscription.silence(now_s, self._live.current.reports.silence_timeout_s)
            # Without calibration all else works, so its absence is for /diagnostics alone.
            if silent and not self.silent.get(name) and name != "vis_info":
                self._node.get_logger().warning(silent)
            self.silent[name] = silent

    def reopen(self) -> None:
        """Close what is open, and subscribe again."""
        for subscription in self.subscriptions.values():
            if subscription.is_open:
                subscription.close()
                subscription.open(time.monotonic())

    def close(self) -> None:
        """Unsubscribe."""
        self.follow(False)
