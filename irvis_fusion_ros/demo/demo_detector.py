"""The demo's consumer: a plain RGB people detector, as a robot may have one.

It subscribes to `image` and knows nothing of thermal cameras or fusion: a remap alone decides
which image it gets. At its end it writes a JSON with the arrival of every frame and the people
found in some of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from typing import Any

import cv2
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from irvis_fusion_core.detectors.people_detector import PeopleDetector
from irvis_fusion_core.errors import EngineUnavailableError
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.evaluation.image_store import draw_boxes
from irvis_fusion_ros.messages.image_messages import view
from irvis_fusion_ros.node import end_signals

MAX_IMAGES = 24


class DemoDetector(Node):
    """Notes when every frame arrived, and keeps the newest."""

    def __init__(self) -> None:
        super().__init__("demo_detector")
        self.newest: Image | None = None
        self.arrivals: list[dict[str, int]] = []
        self.create_subscription(Image, "image", self._on_image, 5)

    def _on_image(self, message: Image) -> None:
        now_ns = time.time_ns()
        self.arrivals.append({"stamp_ns": stamp_ns(message.header.stamp), "arrived_ns": now_ns})
        self.newest = message


def look(
    node: DemoDetector, options: argparse.Namespace, ended: threading.Event
) -> list[dict[str, Any]]:
    """Find people in the newest frame, `options.rate_hz` times a second until `ended`."""
    try:
        detector: PeopleDetector | None = PeopleDetector()
    except EngineUnavailableError as error:
        node.get_logger().warning(str(error))
        detector = None
    detections: list[dict[str, Any]] = []
    while not ended.wait(1.0 / options.rate_hz):
        message, node.newest = node.newest, None
        if message is None:
            continue
        image = view(message)
        found = [] if detector is None else detector.find(image)
        people = None if detector is None else [list(each.box) for each in found]
        detections.append({"stamp_ns": stamp_ns(message.header.stamp), "people": people})
        if options.images:
            number = (len(detections) - 1) % MAX_IMAGES  # the last ones are kept
            path = os.path.join(options.images, f"{number:03d}.png")
            write_image(path, draw_boxes(image, found, ())[..., ::-1])
    return detections


def main(arguments: list[str] | None = None) -> int:
    """Consume until interrupted, then write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate-hz", type=float, default=2.0, help="rate of detection")
    parser.add_argument("--record", required=True, help="JSON to write")
    parser.add_argument("--images", help="folder for the frames with boxes")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(remove_ros_args(given))
    cv2.setNumThreads(1)  # leave the other cores to the node
    received = end_signals.init(given)
    node, ended = DemoDetector(), threading.Event()
    detections: list[dict[str, Any]] = []
    # Detection takes longer than a frame period, so it has a thread of its own.
    looker = threading.Thread(target=lambda: detections.extend(look(node, options, ended)))
    looker.start()
    try:
        end_signals.spin(node, received)
    finally:
        ended.set()
        looker.join()
    with open(options.record, "w", encoding="utf-8") as stream:
        json.dump({"arrivals": node.arrivals, "detections": detections}, stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
