"""The image topics that the node takes and publishes.

Cameras are subscribed to on demand, with what the publishers offer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.node.frame_output import Publishers
from irvis_fusion_ros.node.topics import qos
from irvis_fusion_ros.node.topics.calibration_topics import IR_INFO
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.events import Note

VIS_INFO = "vis/camera_info"
FUSED = "fused/image_raw"
FUSED_INFO = "fused/camera_info"
COMPRESSED = "fused/image_raw/compressed"


def image_topic(settings: Settings, camera: str) -> str:
    """Return the topic of the images of `camera` (ir, vis), as its transport has it."""
    topic = camera + "/image_raw"
    compressed = settings.topics.camera(camera).transport == "compressed"
    return topic + "/compressed" if compressed else topic


class CameraTopics:
    """The subscriptions `ir`, `vis` and `vis_info`, opened and closed together."""

    def __init__(
        self, node: Node, live: LiveSettings, callbacks: Mapping[str, Callable[[bytes], None]]
    ) -> None:
        """Subscribe to nothing yet. `callbacks` has one for each name above; see `on_message`."""
        self.silent: dict[str, str | None] = {}
        """Why nothing arrives, by name; None while something does."""
        self._node = node
        self._live = live

        self.subscriptions: dict[str, qos.MatchedSubscription] = {}
        for name in ("ir", "vis", "vis_info"):
            is_info, camera = name == "vis_info", name.split("_")[0]
            transport, reliability, depth = live.current.topics.camera(camera)
            topic = VIS_INFO if is_info else image_topic(live.current, camera)
            kind = CompressedImage if transport == "compressed" else Image
            self.subscriptions[name] = qos.MatchedSubscription(
                node, CameraInfo if is_info else kind, topic, callbacks[name], reliability, depth
            )

    def __getitem__(self, name: str) -> qos.MatchedSubscription:
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


def make_publishers(
    node: LifecycleNode,
    live: LiveSettings,
    on_demand: Callable[[Any], None],
    note: Note,
    undo: ExitStack,
) -> Publishers:
    """Create the publishers of the fused image; they publish only while the node is active.

    `on_demand(event)` is called when subscribers come and go. Where the middleware has no such
    event (Humble), ask `Publishers.wanted` now and then. `note` is told of images that cannot be
    compressed, `undo` removes the publishers.
    """
    settings = live.current.topics
    reliability, durability = settings.output_qos_reliability, settings.output_qos_durability

    def create(message_type: Any, name: str) -> Any:
        topic = qos.name_for_rclpy(node, name)
        publisher = qos.matched_events(
            lambda events: node.create_lifecycle_publisher(
                message_type,
                topic,
                # One for each: rclpy writes overrides into it.
                qos.make_profile(reliability, durability, settings.output_qos_depth),
                event_callbacks=events,
                qos_overriding_options=qos.overriding_options(node, topic, "publisher"),
            ),
            on_demand,
        )
        undo.callback(node.destroy_lifecycle_publisher, publisher)
        return publisher

    image, info = create(Image, FUSED), create(CameraInfo, FUSED_INFO)
    compressed = create(CompressedImage, COMPRESSED) if settings.publish_compressed else None
    return Publishers(image, info, compressed, live, note)


def refuse_loops(node: LifecycleNode, settings: Settings) -> None:
    """Raise ConfigurationError when a topic that we take is remapped to one that we publish."""
    published = [FUSED, FUSED_INFO] + ([COMPRESSED] if settings.topics.publish_compressed else [])
    ours = {qos.resolve_topic(node, topic): topic for topic in published}
    for topic in (image_topic(settings, "ir"), image_topic(settings, "vis"), VIS_INFO, IR_INFO):
        resolved = qos.resolve_topic(node, topic)
        if resolved in ours:
            raise ConfigurationError(
                f"{topic} is remapped to {resolved}, which this node publishes itself as"
                f" {ours[resolved]}; remap {ours[resolved]} or {topic} elsewhere"
            )
