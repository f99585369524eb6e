"""Play a bag's cameras to the node under evaluation; a process of its own.

First it repeats the bag's first messages, with stamps an hour earlier, so that the node builds
and warms up its engine. When stdin has a line it plays the bag once in recorded time, and writes
when it published each message.
"""

from __future__ import annotations

import argparse
import json
import select
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs import msg as sensor_messages

from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.bag import BagMessage, read_messages
from irvis_fusion_ros.bags.bag_error import ignore_incomplete
from irvis_fusion_ros.messages.serialized_image import stamp_ns_of, with_stamp

DEPTH = 60
WARM_UP_PERIOD_S = 0.2
WARM_UP_IMAGES = 5
"""More than one, because health takes a thermal image that never changes for a frozen camera."""
WARM_UP_MESSAGES = 500
_EARLIER_NS = 3600 * NS_PER_S


class Player:
    """Publishes the bytes of recorded messages.

    Attributes:
        published: Topic, stamp, time and delay of each message that `play` published.
    """

    def __init__(self, node: Node, bag: str, names: Mapping[str, str], rate: float) -> None:
        """Take `names`: topic of the bag -> topic to publish on."""
        self._node, self._bag, self._names, self._rate = node, bag, names, rate
        self._publishers: dict[str, Publisher] = {}
        self.published: list[dict[str, Any]] = []

    def warm_up(self) -> None:
        """Publish the first few messages of each topic in turn until stdin has a line."""
        # The thermal image goes first, as the visible one takes what is there.
        in_order = sorted(self._names, key=lambda topic: not self._names[topic].startswith("ir/"))
        first: dict[str, list[BagMessage]] = {topic: [] for topic in in_order}
        for number, message in enumerate(self._messages()):
            if len(first[message.topic]) < WARM_UP_IMAGES:
                first[message.topic].append(message)
            enough = all(len(kept) == WARM_UP_IMAGES for kept in first.values())
            if enough or number > WARM_UP_MESSAGES:
                break
        stamps_ns = [stamp_ns_of(message.raw) for kept in first.values() for message in kept]
        stamp_ns = max(min(stamps_ns) - _EARLIER_NS, NS_PER_S)
        turn = 0
        while not select.select([sys.stdin], [], [], WARM_UP_PERIOD_S)[0]:
            stamp_ns += int(WARM_UP_PERIOD_S * NS_PER_S)
            turn += 1
            for kept in filter(None, first.values()):
                message = kept[turn % len(kept)]
                self._publisher(message).publish(with_stamp(message.raw, stamp_ns))
        sys.stdin.readline()

    def play(self) -> None:
        """Publish everything once, at the recorded times."""
        begin_ns: int | None = None
        started_ns = time.monotonic_ns()
        for message in self._messages():
            begin_ns = message.recorded_ns if begin_ns is None else begin_ns
            due_ns = started_ns + int((message.recorded_ns - begin_ns) / self._rate)
            time.sleep(max(due_ns - time.monotonic_ns(), 0) / NS_PER_S)
            publisher = self._publisher(message)
            now_ns = time.monotonic_ns()
            publisher.publish(message.raw)
            self.published.append(
                {
                    "topic": self._names[message.topic],
                    "stamp_ns": stamp_ns_of(message.raw),
                    "published_ns": now_ns,
                    "late_ms": (now_ns - due_ns) / 1e6,
                }
            )

    def _messages(self) -> Iterator[BagMessage]:
        # The replay tells what is missing; here the rest is played.
        names = tuple(self._names)
        return read_messages(self._bag, (), names, on_incomplete=ignore_incomplete)

    def _publisher(self, message: BagMessage) -> Publisher:
        if message.topic not in self._publishers:
            kind = getattr(sensor_messages, message.type.rpartition("/")[2])
            profile = QoSProfile(depth=DEPTH, reliability=QoSReliabilityPolicy.RELIABLE)
            publisher = self._node.create_publisher(kind, self._names[message.topic], profile)
            self._publishers[message.topic] = publisher
        return self._publishers[message.topic]


def main(arguments: list[str] | None = None) -> int:
    """Warm up the node, play after a line on stdin, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bag")
    parser.add_argument("--names", required=True, help="JSON: topic of the bag -> topic to play")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--record", required=True, help="JSON to write")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(remove_ros_args(given))
    rclpy.init(args=given)
    node = rclpy.create_node("evaluation_player")
    player = Player(node, options.bag, json.loads(options.names), options.rate)
    player.warm_up()
    player.play()
    with open(options.record, "w", encoding="utf-8") as stream:
        json.dump(player.published, stream)
    time.sleep(1.0)  # so that the last messages arrive before the publishers go
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
