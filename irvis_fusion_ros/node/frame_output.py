"""The exit of the node: each visible frame leaves once, fused or unchanged, in order of arrival.

Both threads publish: the worker what it fused, the executor what the worker cannot take. A frame
is not published when a newer one was. Every frame is counted by what became of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from irvis_fusion_core.errors import FrameError
from irvis_fusion_ros.messages import compressed_messages, image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError
from irvis_fusion_ros.messages.serialized_image import (
    SerializedCompressedImage,
    head_bytes,
    info_bytes,
)
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.events import EventCounter, Note
from irvis_fusion_ros.pipeline.frames import FUSED, VisFrame
from irvis_fusion_ros.pipeline.pair_fuser import Fused

LATE = "late"
NOT_PUBLISHED = "not_published"


class Publisher(Protocol):
    """What the node needs of an rclpy publisher."""

    def publish(self, message: Any) -> None:
        """Publish a serialized message."""

    def get_subscription_count(self) -> int:
        """Return the number of matched subscriptions."""


@dataclass(eq=False)
class Publishers:
    """Publishes one frame on the fused topics, as serialized messages.

    `compressed` is for `publish_compressed`; `note` is told of images that it cannot encode.
    """

    image: Publisher
    info: Publisher
    compressed: Publisher | None
    live: LiveSettings
    note: Note

    def __post_init__(self) -> None:
        self._info = b""  # as its camera sent it
        self._info_out = b"", b""  # the same, and what went out of it: behind the last header

    def set_camera_info(self, info: bytes) -> None:
        """Publish this serialized calibration with each frame from now on. From any thread.

        Raises:
            ImageMessageError: Of kind unreadable.
        """
        info_bytes(info, head_bytes(0, 0, ""))
        self._info = info

    def wanted(self) -> bool:
        """Return whether anybody subscribes to any of the topics."""
        publishers = (self.image, self.info, self.compressed)
        return any(p is not None and p.get_subscription_count() > 0 for p in publishers)

    def publish(self, frame: VisFrame, fused: Fused | None) -> None:
        """Publish a frame, fused or unchanged; see `image_messages.passed_bytes`.

        Raises:
            ImageMessageError: An image that must be converted is broken; nothing is published.
        """
        if fused is None:
            message = image_messages.passed_bytes(frame.message, frame.pixels)
        else:
            message = fused.message
        self.image.publish(message)
        if self._info:
            self._publish_info(frame.message.head)
        if self.compressed is not None and self.compressed.get_subscription_count() > 0:
            try:
                self.compressed.publish(self._compress(frame, fused))
            except FrameError as error:  # the image itself is out
                kind = getattr(error, "kind", type(error).__name__)
                self.note("fused/image_raw/compressed: " + kind, str(error))

    def _publish_info(self, head: bytes) -> None:
        """Publish the calibration with the header of an image."""
        info, (source, out) = self._info, self._info_out
        if source is info and out[:4] == head[:4] and out[12 : len(head)] == head[12:]:
            out = head[:12] + out[12:]  # another stamp alone
        else:
            out = info_bytes(info, head)
        self._info_out = info, out
        self.info.publish(out)

    def _compress(self, frame: VisFrame, fused: Fused | None) -> bytes:
        if fused is not None:
            pixels, order = fused.image, fused.order
        elif isinstance(frame.message, SerializedCompressedImage):
            return bytes(frame.message.raw)
        else:
            pixels, order = image_messages.visible_frame(frame.message, frame.pixels)
        quality = self.live.current.topics.jpeg_quality
        return compressed_messages.encode(pixels, frame.message.head, order, quality=quality)


@dataclass(eq=False)
class FrameOutput:
    """Lets each frame out once and in order; used from both threads.

    Every frame that `arrived` gets one outcome, so `arrivals` is the sum of `outcomes` and of the
    frames `on_their_way`. `note(kind, text)` is told of images that are refused, `debug(text)` of
    every frame.

    Attributes:
        arrivals: Number of visible messages that arrived.
        outcomes: Counts by outcome: "fused", "passed: <reason>", "dropped: <reason>".
        last_unfused: The newest outcome other than "fused".
        late_results: Fused images of frames that had gone out unchanged meanwhile.
    """

    publishers: Publishers
    live: LiveSettings
    note: Note
    debug: Callable[[str], object] = str

    def __post_init__(self) -> None:
        self.arrivals = 0
        self.outcomes = EventCounter()
        self.last_unfused = ""
        self.late_results = 0
        self._open: set[int] = set()
        self._newest = -1
        self._lock = threading.Lock()

    def arrived(self) -> int:
        """Count a visible message; return its number."""
        with self._lock:
            self.arrivals += 1
            self._open.add(self.arrivals)
            return self.arrivals

    @property
    def on_their_way(self) -> int:
        """The number of frames that have no outcome yet."""
        return len(self._open)

    def let_out(self, frame: VisFrame, outcome: str, fused: Fused | None = None) -> bool:
        """Publish a frame, unchanged without `fused`; False when it or a later one is out."""
        with self._lock:
            if frame.number not in self._open:
                self.late_results += fused is not None
                return False
            if frame.number < self._newest:
                self._end(frame.number, "dropped: " + LATE)
                return False
            self._newest = frame.number
            try:
                self.publishers.publish(frame, fused)
            except ImageMessageError as error:
                self.note("vis: " + error.kind, str(error))
                self._end(frame.number, "dropped: " + error.kind)
                return False
            except Exception:
                self._end(frame.number, "dropped: " + NOT_PUBLISHED)
                raise
            self._end(frame.number, outcome)
            return True

    def pass_through(self, frame: VisFrame, reason: str) -> None:
        """Publish the visible frame unchanged, unless it or a later one is out."""
        self.let_out(frame, "passed: " + reason)

    def drop(self, reason: str, number: int | None = None) -> None:
        """Count a visible frame that is not published; None: a message that is no frame yet."""
        number = self.arrived() if number is None else number
        with self._lock:
            self._end(number, "dropped: " + reason)

    def _end(self, number: int, outcome: str) -> None:
        """Count the outcome of a frame, the first that it has."""
        if number not in self._open:
            return
        self._open.remove(number)
        if outcome != FUSED:
            self.last_unfused = outcome
        self.outcomes.add(outcome)
        self.debug("a visible frame: " + outcome)
