"""The exit of the node: each visible frame leaves once, fused or unchanged, in order of arrival.

Both threads publish: the worker what it fused, the executor what the worker cannot take. A frame
is not published when a newer one was. Every frame is counted by what became of it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_ros.messages import compressed_messages, image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.events import EventCounter, Note
from irvis_fusion_ros.pipeline.frames import FUSED, VisFrame

OVERRUN = "overrun"
LATE = "late"


class Publisher(Protocol):
    """What the node needs of an rclpy publisher."""

    def publish(self, message: Any) -> None:
        """Publish a message."""

    def get_subscription_count(self) -> int:
        """Return the number of matched subscriptions."""


@dataclass(eq=False)
class Publishers:
    """Publishes one frame on the fused topics; `compressed` is for `publish_compressed`."""

    image: Publisher
    info: Publisher
    compressed: Publisher | None
    live: LiveSettings
    camera_info: CameraInfo | None = None

    def set_camera_info(self, info: CameraInfo) -> None:
        """Publish this calibration with each frame from now on."""
        self.camera_info = copy.copy(info)  # its header changes with each frame

    def wanted(self) -> bool:
        """Return whether anybody subscribes to any of the topics."""
        publishers = (self.image, self.info, self.compressed)
        return any(p is not None and p.get_subscription_count() > 0 for p in publishers)

    def publish_unchanged(self, frame: VisFrame) -> None:
        """Publish the visible image; see `image_messages.passed_image`.

        Raises:
            ImageMessageError: An image that must be converted is broken; nothing is published.
        """
        message = image_messages.passed_image(frame.message, Image(), frame.pixels)
        self.image.publish(message)
        # Before the compressed image: an encoding that is refused has its calibration, too.
        self._publish_info(frame)
        if self.compressed is None or self.compressed.get_subscription_count() == 0:
            return
        if image_messages.is_compressed(frame.message):
            self.compressed.publish(frame.message)
        else:
            pixels, order = image_messages.visible_frame(frame.message, frame.pixels)
            self._publish_compressed(frame, pixels, order)

    def publish_fused(
        self, frame: VisFrame, message: Image, pixels: np.ndarray, order: str
    ) -> None:
        """Publish the fused `message`, which was made of `pixels` (HxWx3 of `order`)."""
        self.image.publish(message)
        self._publish_info(frame)
        if self.compressed is not None and self.compressed.get_subscription_count() > 0:
            self._publish_compressed(frame, pixels, order)

    def _publish_compressed(self, frame: VisFrame, pixels: np.ndarray, order: str) -> None:
        quality = self.live.current.topics.jpeg_quality
        message = CompressedImage()
        compressed_messages.encode(message, pixels, frame.message, order, quality=quality)
        assert self.compressed is not None
        self.compressed.publish(message)

    def _publish_info(self, frame: VisFrame) -> None:
        info = self.camera_info
        if info is not None:
            info.header = frame.message.header
            self.info.publish(info)


@dataclass(eq=False)
class FrameOutput:
    """Lets each frame out once and in order; used from both threads.

    `note(kind, text)` is told of images that are refused, `debug(text)` of every frame.

    Attributes:
        outcomes: Counts by outcome: "fused", "passed: <reason>", "dropped: <reason>".
        last_unfused: The newest outcome other than "fused".
    """

    publishers: Publishers
    live: LiveSettings
    note: Note
    debug: Callable[[str], object] = str

    def __post_init__(self) -> None:
        self.outcomes = EventCounter()
        self.last_unfused = ""
        self._newest = -1
        self._lock = threading.Lock()

    def publish_fused(
        self, frame: VisFrame, message: Image, pixels: np.ndarray, order: str
    ) -> bool:
        """Publish a fused frame; False when it or a later one is out."""
        with self._lock:
            in_order = frame.number > self._newest
            if in_order:
                self._newest = frame.number
                self.publishers.publish_fused(frame, message, pixels, order)
        # A late frame went out unchanged while the engine was stuck.
        self._count(FUSED if in_order else "dropped: " + LATE)
        return in_order

    def pass_through(self, frame: VisFrame, reason: str) -> None:
        """Publish the visible frame unchanged, unless it or a later one is out."""
        with self._lock:
            if frame.number <= self._newest:
                return
            self._newest = frame.number
            try:
                self.publishers.publish_unchanged(frame)
            except ImageMessageError as error:
                self.note("vis: " + error.kind, str(error))
                self._count("dropped: " + error.kind)
                return
        self._count("passed: " + reason)

    def overrun(self, frame: VisFrame, reason: str) -> None:
        """Pass or drop a frame that a newer one displaced; `reason` is that of its decision."""
        if self.live.current.ir_loss.on_overrun == "passthrough":
            self.pass_through(frame, OVERRUN if reason == FUSED else reason)
        else:
            self.drop(OVERRUN)

    def drop(self, reason: str) -> None:
        """Count a visible frame that is not published."""
        self._count("dropped: " + reason)

    def _count(self, outcome: str) -> None:
        if outcome != FUSED:
            self.last_unfused = outcome
        self.outcomes.add(outcome)
        self.debug("a visible frame: " + outcome)
