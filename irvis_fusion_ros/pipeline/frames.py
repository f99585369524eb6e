"""A frame on its way through the pipeline, and what became of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from irvis_fusion_ros.messages.serialized_image import AnySerializedImage

FUSED = "fused"
PASSED = "passed"
DROPPED = "dropped"

DISABLED = "disabled"
UNCALIBRATED = "uncalibrated"
UNUSABLE_PAIR = "unusable_pair"


class IrFrame(NamedTuple):
    """A thermal frame as it came.

    Attributes:
        number: Place in its stream.
        stamp_ns: Stamp of the header, without ir_time_offset_s.
        pixels: HxW uint8, uint16 or float32.
    """

    number: int
    stamp_ns: int
    pixels: np.ndarray


class VisFrame(NamedTuple):
    """A visible frame as it came.

    Attributes:
        number: Place in its stream.
        message: sensor_msgs/Image or CompressedImage, serialized.
        pixels: What `image_messages.view` gave for the message, or `unpacked_visible` for a
            compressed one. None for an encoding that is not known here.
        stamp_ns: Stamp of the header.
        arrived_ns: When it arrived, on a steady clock.
        size: Height and width.
        size_bytes: Bytes that it holds in memory.
    """

    number: int
    message: AnySerializedImage
    pixels: np.ndarray | None
    stamp_ns: int
    arrived_ns: int
    size: tuple[int, int] = (0, 0)
    size_bytes: int = 0
