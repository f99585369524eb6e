"""The demo's cameras: a process that publishes pairs as two camera drivers would.

Publishes `ir/image_raw` (mono8), `vis/image_raw` (rgb8) and `vis/camera_info`, reliable, at one
rate. At its end it can write a JSON with the stamp and the people of every frame.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image

from irvis_fusion_core.demo.demo_pairs import DemoPairs
from irvis_fusion_ros.node import end_signals
from irvis_fusion_ros.node.startup.shared_memory import own_segment
from irvis_fusion_ros.parameters.node_settings import TopicSettings
from irvis_fusion_ros.running_node.camera_messages import make_image

FRAME_ID = "vis_optical_frame"


class DemoCameras(Node):
    """Publishes a pair each period, both images with the same stamp."""

    def __init__(self, pairs: DemoPairs, recorded: bool = True) -> None:
        super().__init__("demo_cameras")
        self._pairs, self._recorded, self._count = pairs, recorded, 0
        self._ir = self.create_publisher(Image, "ir/image_raw", 5)
        self._vis = self.create_publisher(Image, "vis/image_raw", 5)
        self._info = self.create_publisher(CameraInfo, "vis/camera_info", 5)
        self.frames: list[dict[str, Any]] = []
        self.create_timer(1.0 / pairs.rate_hz, self._publish)

    def _publish(self) -> None:
        pair = self._pairs.pair(self._count)
        self._count += 1
        stamp = self.get_clock().now()  # after drawing, which takes no time in a camera
        info = CameraInfo(height=self._pairs.height, width=self._pairs.width)
        info.header.stamp = stamp.to_msg()
        info.header.frame_id = FRAME_ID
        self._ir.publish(make_image(pair.ir, "mono8", info.header))
        self._vis.publish(make_image(pair.vis, "rgb8", info.header))
        self._info.publish(info)
        if not self._recorded:
            return
        people = None if pair.people is None else [list(box) for box in pair.people]
        self.frames.append({"stamp_ns": stamp.nanoseconds, "people": people})


def main(arguments: list[str] | None = None) -> int:
    """Publish until interrupted, then write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", help="folder with IR/ and VIS/; default: the drawn street")
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--record", help="JSON to write")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(remove_ros_args(given))
    pairs = DemoPairs(options.pairs, rate_hz=options.rate_hz)
    sizes = TopicSettings(shared_memory_width=pairs.width, shared_memory_height=pairs.height)
    with own_segment(sizes):
        received = end_signals.init(given)
        node = DemoCameras(pairs, bool(options.record))
    end_signals.spin(node, received)
    if options.record:
        with open(options.record, "w", encoding="utf-8") as stream:
            json.dump(node.frames, stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
