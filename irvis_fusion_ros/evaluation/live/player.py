"""Plays a bag's cameras to the node under evaluation: a process of its own.

First it shows the bag's beginning again and again, with stamps of long before, so that the node
builds and warms its engine. When a line comes on stdin it plays the bag once, in recorded time,
and writes when it published what.
"""

from __future__ import annotations

import argparse
import json
import select
import struct
import sys
import time
from typing import Any, Dict, List, Optional

import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_ros.bags.bag import NS_PER_S, BagMessage, read_messages

TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
}
DEPTH = 60
WARM_UP_PERIOD_S = 0.2
WARM_UP_IMAGES = 5
WARM_UP_LOOKED_AT = 500
_LONG_AGO_NS = 3600 * NS_PER_S


class Player:
    """Publishes messages as bytes, as they were recorded."""

    def __init__(self, node: Any, bag: str, names: Dict[str, str], rate: float) -> None:
        """Take `names`: topic of the bag -> topic to publish on."""
        self._node, self._bag, self._names, self._rate = node, bag, names, rate
        self._publishers: Dict[str, Any] = {}
        self.published: List[Dict[str, Any]] = []

    def messages(self) -> Any:
        """The bag's messages of the cameras, as bytes."""
        return read_messages(self._bag, (), tuple(self._names))

    def publisher(self, message: BagMessage) -> Any:
        """The publisher of a message's topic."""
        if message.topic not in self._publishers:
            profile = QoSProfile(depth=DEPTH, reliability=QoSReliabilityPolicy.RELIABLE)
            self._publishers[message.topic] = self._node.create_publisher(
                TYPES[message.type], self._names[message.topic], profile
            )
        return self._publishers[message.topic]

    def warm_up(self) -> None:
        """Show the first few messages of each topic in turn until stdin has a line.

        Several, for a thermal image that never changes is that of a frozen camera.
        """
        first: Dict[str, List[BagMessage]] = {topic: [] for topic in self._names}
        for number, message in enumerate(self.messages()):
            if len(first[message.topic]) < WARM_UP_IMAGES:
                first[message.topic].append(message)
            enough = all(len(kept) == WARM_UP_IMAGES for kept in first.values())
            if enough or number > WARM_UP_LOOKED_AT:
                break
        shown = sorted(first.items(), key=lambda item: item[0] != self._thermal)
        stamps_ns = [read_stamp(message.raw) for kept in first.values() for message in kept]
        stamp_ns = max(min(stamps_ns) - _LONG_AGO_NS, NS_PER_S)
        turn = 0
        while not select.select([sys.stdin], [], [], WARM_UP_PERIOD_S)[0]:
            stamp_ns += int(WARM_UP_PERIOD_S * NS_PER_S)
            turn += 1
            for _, kept in shown:
                if kept:
                    message = kept[turn % len(kept)]
                    self.publisher(message).publish(with_stamp(message.raw, stamp_ns))
        sys.stdin.readline()

    @property
    def _thermal(self) -> str:
        return next(topic for topic, name in self._names.items() if name.startswith("ir/"))

    def play(self) -> None:
        """Publish everything once, at the times of recording."""
        begin_ns: Optional[int] = None
        started_ns = time.monotonic_ns()
        for message in self.messages():
            begin_ns = message.recorded_ns if begin_ns is None else begin_ns
            due_ns = started_ns + int((message.recorded_ns - begin_ns) / self._rate)
            wait_s = (due_ns - time.monotonic_ns()) / NS_PER_S
            if wait_s > 0:
                time.sleep(wait_s)
            publisher = self.publisher(message)
            now_ns = time.monotonic_ns()
            publisher.publish(message.raw)
            self.published.append(
                {
                    "topic": self._names[message.topic],
                    "stamp_ns": read_stamp(message.raw),
                    "published_ns": now_ns,
                    "late_ms": (now_ns - due_ns) / 1e6,
                }
            )


def read_stamp(raw: bytes) -> int:
    """The header's stamp in ns of a message in CDR: the first field behind four bytes."""
    order = "<" if raw[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", raw, 4)
    return int(seconds) * NS_PER_S + int(nanoseconds)


def with_stamp(raw: bytes, stamp_ns: int) -> bytes:
    """The same message with another stamp."""
    changed = bytearray(raw)
    order = "<" if raw[1] & 1 else ">"
    struct.pack_into(order + "iI", changed, 4, stamp_ns // NS_PER_S, stamp_ns % NS_PER_S)
    return bytes(changed)


def main(arguments: Optional[List[str]] = None) -> int:
    """Warm the node up, play when told to, write the record."""
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
    time.sleep(1.0)  # what is on its way must arrive before the publishers go
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
