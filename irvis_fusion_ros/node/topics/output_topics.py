"""The topics that the node publishes, and the refusal to publish onto what it subscribes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.node.frame_output import Publishers
from irvis_fusion_ros.node.topics.qos import make_profile, matched_events
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings

IMAGE = "fused/image_raw"
INFO = "fused/camera_info"
COMPRESSED = "fused/image_raw/compressed"


class FusedTopics:
    """The publishers of the fused image; they publish only while the node is active."""

    def __init__(
        self, node: LifecycleNode, live: LiveSettings, on_demand: Callable[[Any], None]
    ) -> None:
        """Create them; `on_demand(event)` is called when subscribers come and go.

        Where the middleware has no such event (Humble), ask `publishers.wanted` now and then.
        """
        topics = live.current.topics
        self._node = node
        self._on_demand = on_demand
        self._profile = make_profile(
            topics.output_qos_reliability, topics.output_qos_durability, topics.output_qos_depth
        )
        self._created: list[Any] = []
        image, info = self._publish(Image, IMAGE), self._publish(CameraInfo, INFO)
        wanted = topics.publish_compressed
        compressed = self._publish(CompressedImage, COMPRESSED) if wanted else None
        self.publishers = Publishers(image, info, compressed, live)

    def close(self) -> None:
        """Remove the publishers."""
        for publisher in self._created:
            self._node.destroy_lifecycle_publisher(publisher)
        self._created = []

    def _publish(self, message_type: Any, topic: str) -> Any:
        publisher = matched_events(
            lambda events: self._node.create_lifecycle_publisher(
                message_type, topic, self._profile, event_callbacks=events
            ),
            self._on_demand,
        )
        self._created.append(publisher)
        return publisher


def refuse_loops(node: LifecycleNode, settings: Settings, inputs: Iterable[str]) -> None:
    """Raise ConfigurationError when a topic of `inputs` is remapped to one that we publish."""
    published = [IMAGE, INFO] + ([COMPRESSED] if settings.topics.publish_compressed else [])
    ours = {node.resolve_topic_name(topic): topic for topic in published}
    for topic in inputs:
        resolved = node.resolve_topic_name(topic)
        if resolved in ours:
            raise ConfigurationError(
                f"{topic} is remapped to {resolved}, which this node publishes itself as"
                f" {ours[resolved]}; remap {ours[resolved]} or {topic} elsewhere"
            )
