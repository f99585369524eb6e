"""The demo's consumer: a plain RGB people detector, such as a robot has already.

It takes `image` and knows nothing of thermal cameras or of fusion: what it sees is decided by a
remap alone. Writes a JSON with the arrival of every frame and the people in some of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from typing import Any, Dict, List, Optional

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from irvis_fusion_core.detectors.people_detector import PeopleDetector
from irvis_fusion_core.errors import EngineUnavailableError
from irvis_fusion_core.image_files import write_image
from irvis_fusion_ros.node import end_signals

MAX_IMAGES = 24


class DemoDetector(Node):
    """Notes when every frame arrived, and keeps the newest."""

    def __init__(self) -> None:
        """Subscribe to `image`."""
        super().__init__("demo_detector")
        self.newest: Optional[Image] = None
        self.arrivals: List[Dict[str, int]] = []
        self.create_subscription(Image, "image", self._on_image, 5)

    def _on_image(self, message: Image) -> None:
        now_ns = time.time_ns()
        self.arrivals.append({"stamp_ns": stamp_ns(message), "arrived_ns": now_ns})
        self.newest = message


def stamp_ns(message: Image) -> int:
    """The stamp of a message, in nanoseconds."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def pixels_of(message: Image) -> np.ndarray:
    """The pixels of an rgb8 image without padding: all that the demo publishes."""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def look(node: DemoDetector, options: Any, ended: threading.Event) -> List[Dict[str, Any]]:
    """Until `ended`: find people in the newest frame, some times a second."""
    try:
        detector: Optional[PeopleDetector] = PeopleDetector()
    except EngineUnavailableError as error:
        node.get_logger().warning(str(error))
        detector = None
    detections: List[Dict[str, Any]] = []
    while not ended.wait(1.0 / options.rate_hz):
        message, node.newest = node.newest, None
        if message is None:
            continue
        found = None
        if detector is not None:
            found = [list(box) for box in detector.find(pixels_of(message))]
        detections.append({"stamp_ns": stamp_ns(message), "people": found})
        if options.images:
            number = (len(detections) - 1) % MAX_IMAGES  # the last ones are kept
            image = draw(pixels_of(message), found or [])
            write_image(os.path.join(options.images, f"{number:03d}.png"), image)
    return detections


def draw(image: np.ndarray, people: List[List[float]]) -> np.ndarray:
    """A BGR copy of an RGB image with boxes around the people found."""
    drawn = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    for left, top, width, height in people:
        corner = int(left + width), int(top + height)
        cv2.rectangle(drawn, (int(left), int(top)), corner, (80, 255, 80), 2)
    return drawn


def main(arguments: Optional[List[str]] = None) -> int:
    """Consume until interrupted, then write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate-hz", type=float, default=2.0, help="how often it looks")
    parser.add_argument("--record", required=True, help="JSON to write")
    parser.add_argument("--images", help="folder for the frames it looked at")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(remove_ros_args(given))
    cv2.setNumThreads(1)  # the detector is a guest on the robot's processor
    received = end_signals.init(given)
    node, ended = DemoDetector(), threading.Event()
    detections: List[Dict[str, Any]] = []
    # Looking takes longer than a frame lasts; frames keep arriving meanwhile.
    looker = threading.Thread(target=lambda: detections.extend(look(node, options, ended)))
    looker.start()
    try:
        end_signals.spin(node, received)
    finally:
        ended.set()
        looker.join()
    with open(options.record, "w") as stream:
        json.dump({"arrivals": node.arrivals, "detections": detections}, stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
