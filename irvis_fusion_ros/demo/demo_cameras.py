"""The demo's cameras: a process that publishes pairs as two camera drivers would.

Publishes `ir/image_raw` (mono8), `vis/image_raw` (rgb8) and `vis/camera_info`, reliable, at one
rate, and writes a JSON of what it published and where people were.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Dict, List, Optional

from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image

from irvis_fusion_core.demo.demo_pairs import DemoPairs
from irvis_fusion_ros.node import end_signals

FRAME_ID = "vis_optical_frame"


class DemoCameras(Node):
    """Publishes a pair each period, both with the same stamp."""

    def __init__(self, pairs: DemoPairs) -> None:
        """Start at once."""
        super().__init__("demo_cameras")
        self._pairs = pairs
        self._ir = self.create_publisher(Image, "ir/image_raw", 5)
        self._vis = self.create_publisher(Image, "vis/image_raw", 5)
        self._info = self.create_publisher(CameraInfo, "vis/camera_info", 5)
        self.frames: List[Dict[str, Any]] = []
        self.create_timer(1.0 / pairs.rate_hz, self._publish)

    def _publish(self) -> None:
        pair = self._pairs.pair(len(self.frames))
        stamp = self.get_clock().now()  # drawing is over: a camera stamps what it has seen
        info = CameraInfo(height=self._pairs.height, width=self._pairs.width)
        info.header.stamp = stamp.to_msg()
        info.header.frame_id = FRAME_ID
        self._ir.publish(make_image(pair.ir, "mono8", info.header))
        self._vis.publish(make_image(pair.vis, "rgb8", info.header))
        self._info.publish(info)
        people = None if pair.people is None else [list(box) for box in pair.people]
        self.frames.append({"stamp_ns": stamp.nanoseconds, "people": people})


def make_image(pixels: Any, encoding: str, header: Any) -> Image:
    """A message with these pixels; `frombytes` spares the check of each single byte."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    message = Image(
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.shape[1] * channels,
    )
    message.data.frombytes(memoryview(pixels).cast("B"))
    return message


def main(arguments: Optional[List[str]] = None) -> int:
    """Publish until interrupted, then write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", help="folder with IR/ and VIS/; default: the drawn street")
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--record", required=True, help="JSON to write")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(remove_ros_args(given))
    received = end_signals.init(given)
    node = DemoCameras(DemoPairs(options.pairs, rate_hz=options.rate_hz))
    end_signals.spin(node, received)
    with open(options.record, "w") as stream:
        json.dump(node.frames, stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
