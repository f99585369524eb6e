"""Pairs of images to calibrate with, from topics of a running system."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.streams.pairing import Pair, PairNearest
from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.bags.bag_pairs import images_of
from irvis_fusion_ros.calibration.calibration_frames import CalibrationPair, calibration_pair
from irvis_fusion_ros.messages.image_messages import ImageMessageError
from irvis_fusion_ros.messages.serialized_image import (
    AnySerializedImage,
    SerializedCompressedImage,
    SerializedImage,
)
from irvis_fusion_ros.node.topics.qos import MatchedSubscription

_SPIN_S = 0.05


def live_frames(
    topics: tuple[str, str],
    most: int,
    seconds: float,
    slop_s: float = 0.05,
    ir_time_offset_s: float = 0.0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[CalibrationPair]:
    """Return up to `most` pairs of the thermal and the visible topic, spread over `seconds`.

    /compressed at the end of a topic means CompressedImage. The subscriptions follow the
    publishers' reliability. Times are those of `PairNearest` of the core.

    Raises:
        CalibrationError: No pair arrived, or none that can be decoded.
    """
    # The command handles Ctrl-C: rclpy's own handler would end in a traceback here.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("irvis_fusion_calibrate")
    pairing = PairNearest(slop_s, ir_time_offset_s)
    try:
        return _Collection(node, topics, most, seconds, pairing).run(progress)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


@dataclass(eq=False)
class _Collection:
    node: Node
    topics: tuple[str, str]
    most: int
    seconds: float
    pairing: PairNearest

    def __post_init__(self) -> None:
        self._found: list[CalibrationPair] = []
        self._next_s = 0.0
        self._unusable: ImageMessageError | None = None
        self._subscriptions = []
        for topic, add in zip(self.topics, (self.pairing.add_ir, self.pairing.add_vis)):
            compressed = topic.endswith("/compressed")
            kind = SerializedCompressedImage if compressed else SerializedImage
            take = functools.partial(self._take, kind, add)
            message_type = CompressedImage if compressed else Image
            self._subscriptions.append(MatchedSubscription(self.node, message_type, topic, take))

    def run(self, progress: Callable[[str], None]) -> list[CalibrationPair]:
        begin = time.monotonic()
        for subscription in self._subscriptions:
            subscription.open(begin)
        told = 0
        while time.monotonic() < begin + self.seconds and len(self._found) < self.most:
            rclpy.spin_once(self.node, timeout_sec=_SPIN_S)
            for subscription in self._subscriptions:
                subscription.poll(time.monotonic())
            if len(self._found) >= told + 5:
                told = len(self._found)
                progress(f"{told} pairs")
        if not self._found:
            raise CalibrationError(self._why_nothing())
        return self._found

    def _take(
        self, kind: type[AnySerializedImage], add: Callable[..., list[Pair]], raw: bytes
    ) -> None:
        try:
            message = kind(raw)
        except ImageMessageError as error:
            self._unusable = error
            return
        for pair in add(stamp_ns(message.header.stamp), message):
            now = time.monotonic()
            if not pair.paired or now < self._next_s or len(self._found) >= self.most:
                continue
            try:
                self._found.append(calibration_pair(pair, *images_of(pair)))
                self._next_s = now + self.seconds / self.most
            except ImageMessageError as error:
                self._unusable = error

    def _why_nothing(self) -> str:
        said = [s.silence(time.monotonic(), min(1.0, self.seconds)) for s in self._subscriptions]
        counts = ", ".join(f"{s.received} on {s.topic}" for s in self._subscriptions)
        reasons = [text for text in said if text]
        if self._unusable is not None:
            reasons.append(str(self._unusable))
        nearest = "no two stamps are within the slop; see --slop-s and --ir-time-offset-s"
        return (
            f"expected pairs of frames within {self.seconds:g} s, found {counts} and no pair: "
            + "; ".join(reasons or [nearest])
        )
