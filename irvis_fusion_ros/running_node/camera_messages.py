"""sensor_msgs/Image messages of rclpy, for processes that play a camera."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header


def make_image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Return a message with these pixels, HxW or HxWxC, without padding."""
    pixels = np.ascontiguousarray(pixels)
    data = array.array("B")  # rclpy would check each byte of another type
    data.frombytes(pixels.reshape(-1).view(np.uint8).data)
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.nbytes // height,
        data=data,
    )
