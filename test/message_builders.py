"""Messages as plain objects with the fields of sensor_msgs, built byte by byte with struct."""

import array
import struct
import types

import cv2
import numpy as np

from irvis_fusion_ros.messages.compressed_messages import encode
from irvis_fusion_ros.messages.image_messages import fused_bytes
from irvis_fusion_ros.messages.serialized_image import SerializedCompressedImage, SerializedImage

CODES = {"mono8": ("B", 1), "8UC1": ("B", 1), "mono16": ("H", 1), "16UC1": ("H", 1)}
CODES.update({"32FC1": ("f", 1), "rgb8": ("B", 3), "bgr8": ("B", 3), "8UC3": ("B", 3)})
CODES.update({"rgba8": ("B", 4), "bgra8": ("B", 4)})


def header(sec=12, nanosec=34, frame_id="camera_optical"):
    return types.SimpleNamespace(
        stamp=types.SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id
    )


def image(encoding, height, width, data, step, is_bigendian=0):
    return types.SimpleNamespace(
        header=header(),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=array.array("B", data),
    )


def compressed(data, image_format):
    return types.SimpleNamespace(header=header(), format=image_format, data=array.array("B", data))


def serialized(message):
    """The CDR bytes of such an object, as the package reads them."""

    def aligned(raw):
        return raw + bytes(-len(raw) % 4)

    def text(value):
        return struct.pack("<I", len(value.encode()) + 1) + value.encode() + b"\0"

    stamp, data = message.header.stamp, bytes(message.data)
    raw = aligned(struct.pack("<4siI", b"\0\1\0\0", stamp.sec, stamp.nanosec))
    raw = aligned(raw + text(message.header.frame_id))
    if hasattr(message, "format"):
        raw = aligned(raw + text(message.format))
        return SerializedCompressedImage(raw + struct.pack("<I", len(data)) + data)
    raw += struct.pack("<II", message.height, message.width) + text(message.encoding)
    raw = aligned(raw + bytes([message.is_bigendian]))
    return SerializedImage(raw + struct.pack("<II", message.step, len(data)) + data)


def filled(fused, message, order=None):
    """The fused message that goes out for such an object."""
    return SerializedImage(fused_bytes(fused, serialized(message), order))


def encoded(fused, message, order="rgb", quality=90):
    """As `filled`, compressed."""
    head = serialized(message).head
    return SerializedCompressedImage(encode(fused, head, order, quality))


def packed(encoding, values, padding=0, is_bigendian=0):
    """Build a message value by value with struct; `values` is HxWxC, also for one channel."""
    letter, channels = CODES[encoding]
    height, width = len(values), len(values[0])
    data = b""
    for row in values:
        for pixel in row:
            data += struct.pack((">" if is_bigendian else "<") + letter * channels, *pixel)
        data += b"\xa5" * padding
    return image(encoding, height, width, data, len(data) // height, is_bigendian)


def from_array(encoding, pixels):
    return image(encoding, *pixels.shape[:2], pixels.tobytes(), pixels.nbytes // pixels.shape[0])


def smooth_pixels(height=24, width=32, channels=3, seed=0):
    """Smooth colour with some noise, so that chroma subsampling and JPEG stay close."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, channels), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(smooth.reshape(height, width, channels))


def link(parent, child, translation=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0)):
    """A geometry_msgs/TransformStamped by its fields; `rotation` is a rotation vector."""
    angle = float(np.linalg.norm(rotation))
    axis = np.array(rotation) / angle if angle else np.zeros(3)
    x, y, z = np.sin(angle / 2) * axis
    names = types.SimpleNamespace
    return names(
        header=names(frame_id=parent),
        child_frame_id=child,
        transform=names(
            translation=names(**dict(zip("xyz", translation))),
            rotation=names(x=x, y=y, z=z, w=float(np.cos(angle / 2))),
        ),
    )
