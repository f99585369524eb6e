"""What keeps the fused images from their consumers: QoS, types, names, shared memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSReliabilityPolicy,
    qos_check_compatible,
)

from irvis_fusion_ros.node.reports.latency_topics import LATENCY_TOPICS
from irvis_fusion_ros.node.startup.shared_memory import segment_bytes
from irvis_fusion_ros.node.topics.image_topics import COMPRESSED, FUSED, FUSED_INFO
from irvis_fusion_ros.node.topics.qos import name_for_rclpy, profile_text, resolve_topic
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.running_node.environment import TRANSPORT_VARIABLES

IMAGES = (FUSED, FUSED_INFO, COMPRESSED)
TOPICS = (*IMAGES, "/diagnostics", *("~/debug/" + name for name in LATENCY_TOPICS))


def full_name(node_name: str, namespace: str) -> str:
    """Return `/namespace/name`."""
    return namespace.rstrip("/") + "/" + node_name


@dataclasses.dataclass(eq=False)
class OutputReport:
    """Looks at the graph once a report; belongs to the executor's thread.

    Attributes:
        unserved: Why subscribers of the fused topics get nothing, as of the last report.
    """

    node: Node
    live: LiveSettings
    sizes: dict[str, tuple[int, int]]

    def __post_init__(self) -> None:
        self.unserved: list[str] = []

    def status(self) -> tuple[str, bytes, str, dict[str, str]]:
        """Return name, level, message and values of the status `output`."""
        values: dict[str, str] = {}
        self.unserved = []
        problems: list[str] = []
        for topic in TOPICS:
            found = list(self._unserved(topic))
            if topic in IMAGES:
                self.unserved += found
                values["subscribers of " + topic] = str(
                    self.node.count_subscribers(resolve_topic(self.node, topic))
                )
            problems += found
        problems += [*self._same_name(), *self._small_segment()]
        if not problems:
            return "output", DiagnosticStatus.OK, "every subscriber can be served", values
        values.update((f"problem {i}", text) for i, text in enumerate(problems, 1))
        return "output", DiagnosticStatus.WARN, "; ".join(problems), values

    def _unserved(self, topic: str) -> Iterator[str]:
        """Say of each subscriber of `topic` that gets nothing why, and what helps."""
        resolved, name = resolve_topic(self.node, topic), name_for_rclpy(self.node, topic)
        subscribers = self.node.get_subscriptions_info_by_topic(name)
        if not subscribers:
            return
        ours = full_name(self.node.get_name(), self.node.get_namespace())
        offered = [
            info
            for info in self.node.get_publishers_info_by_topic(name)
            if full_name(info.node_name, info.node_namespace) == ours
        ]
        for info in subscribers:
            who = full_name(info.node_name, info.node_namespace)
            start = f"{who} gets nothing of {resolved}: "
            if not offered and topic == COMPRESSED:
                yield start + "set publish_compressed: true"
            elif offered:
                why = why_unserved(offered[0], info)
                if why is not None:
                    yield start + why

    def _same_name(self) -> Iterator[str]:
        mine = (self.node.get_name(), self.node.get_namespace())
        count = self.node.get_node_names_and_namespaces().count(mine)
        if count > 1:
            name = full_name(*mine)
            yield (
                f"{count} nodes are named {name}: their parameters, services and topics are mixed"
                " up; end the others, or start this one with name:=OTHER (launch) or"
                " -r __node:=OTHER"
            )

    def _small_segment(self) -> Iterator[str]:
        topics = self.live.current.topics
        height, width = self.sizes.get("vis", (1, 1))
        needed = segment_bytes(
            dataclasses.replace(topics, shared_memory_width=width, shared_memory_height=height)
        )
        configured = not any(map(os.environ.get, TRANSPORT_VARIABLES))  # else by the user
        if configured and needed > segment_bytes(topics):
            yield (
                f"images of {width}x{height} are larger than the shared memory was made for"
                f" ({topics.shared_memory_width}x{topics.shared_memory_height}), some may be lost;"
                " set shared_memory.width and shared_memory.height, and start the process again"
            )


def why_unserved(publisher: Any, subscriber: Any) -> str | None:
    """Return why `publisher` and `subscriber`, both of the graph, do not match; else None."""
    if publisher.topic_type != subscriber.topic_type:
        return f"it expects {subscriber.topic_type}, found {publisher.topic_type}"
    ours, theirs = publisher.qos_profile, subscriber.qos_profile
    compatibility, reason = qos_check_compatible(ours, theirs)
    if compatibility != QoSCompatibility.ERROR:
        return None
    advice = []
    if (
        theirs.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        and ours.durability == QoSDurabilityPolicy.VOLATILE
    ):
        advice.append("set output_qos.durability: transient_local, or let it subscribe volatile")
    if (
        theirs.reliability == QoSReliabilityPolicy.RELIABLE
        and ours.reliability == QoSReliabilityPolicy.BEST_EFFORT
    ):
        advice.append("set output_qos.reliability: reliable, or let it subscribe best_effort")
    return (
        f"it asks for {profile_text(theirs)}, found {profile_text(ours)}"
        f"; {'; '.join(advice) or reason.strip().rstrip(';')}"
    )
