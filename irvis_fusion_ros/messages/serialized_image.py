"""sensor_msgs/Image and CompressedImage as they travel: CDR bytes, read where they lie.

rclpy gives and takes these bytes (`raw=True`, `publish(bytes)`), and bags hold them. Both classes
have the fields of their message, so `image_messages` reads them. A message is::

    encapsulation (2 bytes name the byte order, 2 are options), stamp, frame_id,
    height, width, encoding, is_bigendian, step, data         (Image)
    format, data                                              (CompressedImage)

with 4-byte integers aligned to 4, and strings and data behind their lengths (OMG DDSI-RTPS 10.5,
DDS-XTYPES 7.4: plain CDR and plain CDR 2 agree on these fields). Every length is checked against
the bytes present before it is used; what cannot be read raises ImageMessageError of kind
`unreadable`, and nothing else. Imports no ROS.
"""

from __future__ import annotations

import io
import math
import struct
from types import SimpleNamespace
from typing import Any, Union

import numpy as np

from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.messages.image_encodings import ImageMessageError
from irvis_fusion_ros.messages.protocols import Header

BYTE_ORDERS = {b"\0\0": ">", b"\0\1": "<", b"\0\6": ">", b"\0\7": "<"}
"""The first two bytes of plain CDR, version 1 and 2 -> byte order for `struct`."""

HEADER = "iIS"
"""The form of a header, for `_read`."""

Bytes = Union[bytes, bytearray, memoryview]


def _read(raw: Bytes, form: str) -> tuple[list[Any], list[int]]:
    """Return the fields of a message in order, and where each ends.

    `form` gives the type of each: i and I for an integer of 32 bits, B for one of 8 (as `struct`),
    S for a string (as rclpy does, ended by the first NUL, and with what is no UTF-8 replaced), D
    for a sequence of bytes, of which a view is taken.

    Raises:
        ImageMessageError: Of kind unreadable.
    """
    order, size = BYTE_ORDERS.get(bytes(raw[:2])), len(raw)
    if order is None or size < 4:
        raise _unreadable(f"it begins with {bytes(raw[:4])!r}, which is no CDR")
    values: list[Any] = []
    ends: list[int] = []
    at = 4
    for kind in form:
        start = at if kind == "B" else at + -at % 4
        at = start + (1 if kind == "B" else 4)
        if at > size:
            raise _unreadable(f"it ends after {size} bytes, within a field")
        code = kind if kind in "iIB" else "I"
        value: Any = struct.unpack_from(order + code, raw, start)[0]
        if kind in "SD":
            start, at = at, at + value
            if at > size:
                raise _unreadable(f"{value} bytes are declared, {size - start} are there")
            value = memoryview(raw)[start:at]
        if kind == "S":
            value = bytes(value).partition(b"\0")[0].decode("utf-8", "replace")
        values.append(value)
        ends.append(at)
    return values, ends


class SerializedImage:
    """A sensor_msgs/msg/Image.

    Attributes:
        raw: The bytes of the whole message; `data` is a view into them.
        head: Those of the encapsulation and the header, with which an answer to it begins.
    """

    def __init__(self, raw: Bytes) -> None:
        """Read the fields; raise ImageMessageError of kind unreadable."""
        (sec, nanosec, frame_id, *values), ends = _read(raw, HEADER + "IISBID")
        stamp = SimpleNamespace(sec=sec, nanosec=nanosec)
        self.header: Header = SimpleNamespace(stamp=stamp, frame_id=frame_id)
        self.height, self.width, self.encoding = values[:3]
        self.is_bigendian, self.step, self.data = values[3:]
        self.raw, self.head = raw, bytes(raw[: ends[2]])


class SerializedCompressedImage:
    """A sensor_msgs/msg/CompressedImage; `raw` and `head` as of SerializedImage."""

    def __init__(self, raw: Bytes) -> None:
        """Read the fields; raise ImageMessageError of kind unreadable."""
        (sec, nanosec, frame_id, self.format, self.data), ends = _read(raw, HEADER + "SD")
        stamp = SimpleNamespace(sec=sec, nanosec=nanosec)
        self.header: Header = SimpleNamespace(stamp=stamp, frame_id=frame_id)
        self.raw, self.head = raw, bytes(raw[: ends[2]])


AnySerializedImage = Union[SerializedImage, SerializedCompressedImage]

SERIALIZED_TYPES: dict[str, type[AnySerializedImage]] = {
    "sensor_msgs/msg/Image": SerializedImage,
    "sensor_msgs/msg/CompressedImage": SerializedCompressedImage,
}
"""The class that reads the messages of a type."""


def head_bytes(sec: int, nanosec: int, frame_id: str) -> bytes:
    """Return the `head` of a message, little endian."""
    name = frame_id.encode() + b"\0"
    return struct.pack(f"<4siII{len(name)}s", b"\0\1", sec, nanosec, len(name), name)


def image_bytes(head: bytes, encoding: str, pixels: np.ndarray) -> bytes:
    """Return a sensor_msgs/Image: `pixels` HxW or HxWxC behind a `head`, rows unpadded.

    The pixels are copied once. `is_bigendian` is that of their dtype.
    """
    pixels = np.ascontiguousarray(pixels)
    is_bigendian = pixels.dtype.newbyteorder("<") != pixels.dtype
    front = _image_front(head, encoding, pixels.shape, pixels.nbytes, is_bigendian)
    return b"".join((front, pixels.reshape(-1).view(np.uint8).data))


def _image_front(
    head: bytes, encoding: str, shape: tuple[int, ...], size: int, is_bigendian: bool
) -> bytes:
    """Return what stands before the `size` bytes of the pixels of a sensor_msgs/Image."""
    order, name = BYTE_ORDERS[head[:2]], encoding.encode() + b"\0"
    height, width = shape[:2]
    front = head + bytes(-len(head) % 4)
    form = f"{order}III{len(name)}sB"
    front += struct.pack(form, height, width, len(name), name, is_bigendian)
    return front + bytes(-len(front) % 4) + struct.pack(order + "II", size // height, size)


class ImageInPlace:
    """A sensor_msgs/Image whose pixels are written where they lie; then `finish` gives it.

    The message becomes `bytes` without a copy, unless somebody could still write to `pixels`.

    Attributes:
        pixels: uint8, zeros at first. Let go of it before `finish`.
    """

    def __init__(self, head: bytes, encoding: str, shape: tuple[int, ...]) -> None:
        """Make room for uint8 pixels of `shape`, HxW or HxWxC, behind a `head`."""
        size = math.prod(shape)
        front = _image_front(head, encoding, shape, size, False)
        self._length = len(front) + size
        self._stream = io.BytesIO(bytes(self._length))
        room = self._stream.getbuffer()
        room[: len(front)] = front
        # Unlike np.ndarray, frombuffer keeps the buffer locked for as long as an array needs it.
        self.pixels: np.ndarray = np.frombuffer(room, np.uint8, -1, len(front)).reshape(shape)

    def finish(self) -> tuple[bytes, np.ndarray]:
        """Return the message, and its pixels as a view that cannot be written to. Call it once."""
        shape, size = self.pixels.shape, self.pixels.nbytes
        del self.pixels
        try:
            self._stream.truncate(self._length)  # changes nothing: refused while `pixels` is held
            raw = self._stream.getvalue()
        except BufferError:
            raw = bytes(self._stream.getbuffer())
        return raw, np.ndarray(shape, np.uint8, raw, self._length - size)


def compressed_bytes(head: bytes, image_format: str, data: Bytes) -> bytes:
    """Return a sensor_msgs/CompressedImage: `data` behind a `head`."""
    order, name = BYTE_ORDERS[head[:2]], image_format.encode() + b"\0"
    front = head + bytes(-len(head) % 4) + struct.pack(f"{order}I{len(name)}s", len(name), name)
    return b"".join((front, bytes(-len(front) % 4), struct.pack(order + "I", len(data)), data))


def stamp_ns_of(raw: Bytes) -> int:
    """Return the stamp of a message that begins with a header, in nanoseconds.

    Raises:
        ImageMessageError: Of kind unreadable; `with_stamp`, too.
    """
    (sec, nanosec, _), _ = _read(raw, HEADER)
    return int(sec * NS_PER_S + nanosec)


def with_stamp(raw: Bytes, stamp_ns: int) -> bytes:
    """Return a message that begins with a header, with another stamp."""
    _read(raw, HEADER)
    changed, order = bytearray(raw), BYTE_ORDERS[bytes(raw[:2])]
    struct.pack_into(order + "iI", changed, 4, *divmod(stamp_ns, NS_PER_S))
    return bytes(changed)


def info_bytes(info: Bytes, head: bytes) -> bytes:
    """Return a serialized sensor_msgs/CameraInfo behind the header of another message.

    Its doubles are aligned to 8 bytes (4 in CDR 2), so they move with the length of the frame_id.

    Raises:
        ImageMessageError: Of kind unreadable.
    """
    # height, width, distortion_model, the number of coefficients; then doubles, and integers.
    _, (*_, head_end, _, _, _, end) = _read(info, HEADER + "IISI")
    if BYTE_ORDERS[head[:2]] != BYTE_ORDERS[bytes(info[:2])]:
        (sec, nanosec, _), ends = _read(head, HEADER)
        name, order = head[16 : ends[2]], BYTE_ORDERS[bytes(info[:2])]
        head = bytes(info[:4]) + struct.pack(order + "III", sec, nanosec, len(name)) + name
    rest = end + -(end - 4) % (4 if info[1] >= 6 else 8)
    front = head + bytes(-len(head) % 4) + bytes(info[head_end + -head_end % 4 : end])
    return front + bytes(-(len(front) - 4) % (4 if head[1] >= 6 else 8)) + bytes(info[rest:])


def _unreadable(found: str) -> ImageMessageError:
    return ImageMessageError(
        "unreadable",
        f"expected a serialized message, but {found}; the message was cut short, or its publisher"
        " uses another type under this name",
    )
