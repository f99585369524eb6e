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
    """A thermal frame as it came."""

    number: int  # place in its stream
    stamp_ns: int  # of the header, without ir_time_offset_s
    pixels: np.ndarray  # HxW uint8, uint16 or float32


class VisFrame(NamedTuple):
    """A visible frame as it came."""

    number: int  # place in its stream
    message: AnySerializedImage
    # What `image_messages.view` gave for the message, or `unpacked_visible` for a compressed one.
    # None for an encoding that is not known here.
    pixels: np.ndarray | None
    stamp_ns: int  # of the header
    arrived_ns: int  # on a steady clock
    size: tuple[int, int] = (0, 0)  # height and width
    size_bytes: int = 0  # what it holds in memory
