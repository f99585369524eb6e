"""The fields that this package reads of messages, whatever library made them.

rclpy's message objects, those of rosbags and plain namespaces all have them, so that no module
needs ROS to name a message's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Union

import numpy as np

from irvis_fusion_core.streams.stamps import Stamp


class Header(Protocol):
    """std_msgs/msg/Header."""

    stamp: Stamp
    frame_id: str


class ImageMessage(Protocol):
    """sensor_msgs/msg/Image."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any  # array.array, bytes or np.ndarray: whatever has a buffer of bytes


class CompressedImageMessage(Protocol):
    """sensor_msgs/msg/CompressedImage."""

    header: Header
    format: str
    data: Any  # as of ImageMessage


AnyImageMessage = Union[ImageMessage, CompressedImageMessage]


class CameraInfoMessage(Protocol):
    """sensor_msgs/msg/CameraInfo, without binning and region of interest."""

    header: Header
    height: int
    width: int
    distortion_model: str
    d: Sequence[float] | np.ndarray
    k: Sequence[float] | np.ndarray
    r: Sequence[float] | np.ndarray
    p: Sequence[float] | np.ndarray
