"""sensor_msgs/Image to numpy without a copy, and fused pixels back into a message in one copy.

Messages are duck-typed: whatever has the fields of sensor_msgs/Image will do, so that this file
imports no ROS. `irvis_fusion_ros.messages.compressed_messages` holds the same for CompressedImage;
`visible_frame` and `thermal_frame` take either. Every unusable message raises ImageMessageError,
whose `kind` is stable.
"""

from __future__ import annotations

import array
import importlib
import sys
from typing import Any, Optional, Tuple

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_ros.messages.compressed_messages import decode, encode
from irvis_fusion_ros.messages.image_encodings import (
    KINDS,
    LAYOUTS,
    SEMI_PLANAR,
    ImageMessageError,
    natural_order,
    output_encoding,
    to_grey,
    to_rgb_or_bgr,
)

__all__ = [
    "KINDS",
    "ImageMessageError",
    "decode",
    "encode",
    "fill",
    "is_compressed",
    "natural_order",
    "output_encoding",
    "passed_image",
    "thermal_frame",
    "to_grey",
    "to_rgb_or_bgr",
    "view",
    "visible_frame",
]


def is_compressed(msg: Any) -> bool:
    """Whether `msg` is a CompressedImage rather than an Image."""
    return not hasattr(msg, "encoding")


def view(msg: Any, check_finite: bool = True) -> np.ndarray:
    """Look at the pixels of an Image where they lie, without a copy; do not write into them.

    Gives HxW for one channel and Bayer, HxWxC for colour, HxWx2 for packed YUV 4:2:2, and all
    planes as rows of luma width for nv12, nv21 (1.5 H rows) and nv24 (3 H rows). dtype is uint8,
    uint16 or float32 in the byte order of the message; padded rows become strides. While the
    array lives, `msg.data` cannot be resized.

    Raise ImageMessageError of kind zero_size, unknown_encoding, wrong_step, short_data, odd_size,
    or, for float pixels unless `check_finite` is False, not_finite.
    """
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    if height < 1 or width < 1:
        raise ImageMessageError(
            "zero_size", f"expected an image with pixels, found {width}x{height}; ask its driver"
        )
    if msg.encoding in SEMI_PLANAR:
        return _view_semi_planar(msg, height, width, step)
    layout = LAYOUTS.get(msg.encoding)
    if layout is None:
        raise ImageMessageError(
            "unknown_encoding",
            f"found encoding {msg.encoding!r}, expected one of {', '.join(sorted(LAYOUTS))}, "
            f"{', '.join(SEMI_PLANAR)}; set the driver to one of these",
        )
    if layout.channels == 2 and width % 2:
        raise _odd_size(msg)
    dtype = np.dtype((">" if msg.is_bigendian else "<") + layout.type_code)
    pixel_bytes = dtype.itemsize * layout.channels
    _check_step(msg, step, width * pixel_bytes)
    _check_length(msg, (height - 1) * step + width * pixel_bytes)
    shape: Tuple[int, ...] = (height, width)
    strides: Tuple[int, ...] = (step, pixel_bytes)
    if layout.channels > 1:
        shape, strides = shape + (layout.channels,), strides + (dtype.itemsize,)
    pixels: np.ndarray = np.ndarray(shape, dtype, msg.data, 0, strides)
    if check_finite and dtype.kind == "f":
        _check_finite(pixels)
    return pixels


def visible_frame(msg: Any) -> Tuple[np.ndarray, str]:
    """Read a visible Image or CompressedImage as (HxWx3 uint8, order "rgb" or "bgr").

    See `to_rgb_or_bgr`. Encodings that this package does not know go through cv_bridge where a
    usable one is installed. Raise ImageMessageError.
    """
    if is_compressed(msg):
        return to_rgb_or_bgr(*decode(msg))
    if _is_known(msg.encoding):
        return to_rgb_or_bgr(view(msg), msg.encoding)
    return _through_cv_bridge(msg, "rgb8"), "rgb"


def thermal_frame(msg: Any, check_finite: bool = True) -> np.ndarray:
    """Read a thermal Image or CompressedImage as HxW uint8, uint16 or float32, as it was sent.

    See `to_grey` for colour and YUV. Encodings that this package does not know go through
    cv_bridge where a usable one is installed. Raise ImageMessageError.
    """
    if is_compressed(msg):
        return to_grey(*decode(msg))
    if _is_known(msg.encoding):
        return to_grey(view(msg, check_finite), msg.encoding)
    return _through_cv_bridge(msg, "mono8")


def fill(msg_out: Any, fused: np.ndarray, vis_msg: Any, order: Optional[str] = None) -> Any:
    """Write `fused` (HxWx3 uint8) into the Image `msg_out` in the manner of `vis_msg`; return it.

    Header and encoding become those of the visible message (`output_encoding`: Bayer and YUV go
    out as rgb8, a CompressedImage as bgr8), rows unpadded. Alpha is copied from the visible
    message; grey takes the luma; mono16 has it times 257, full range. `order` is that of `fused`,
    "rgb" or "bgr"; None means the one that `to_rgb_or_bgr` gave for this encoding. `msg_out` gets
    a new data array, so it may be `vis_msg` itself.

    Raise FrameError if `fused` does not fit the visible message.
    """
    compressed = is_compressed(vis_msg)
    encoding = "bgr8" if compressed else output_encoding(vis_msg.encoding)
    order = order or natural_order("bgr8" if compressed else vis_msg.encoding)
    height, width = fused.shape[:2]
    if fused.dtype != np.uint8 or fused.ndim != 3 or fused.shape[2] != 3:
        raise FrameError(f"expected fused HxWx3 uint8, got {fused.shape} {fused.dtype}")
    if not compressed and (height, width) != (vis_msg.height, vis_msg.width):
        raise FrameError(
            f"expected fused of the visible size {vis_msg.width}x{vis_msg.height}, "
            f"got {width}x{height}"
        )
    pixels = _encode_pixels(fused, order, encoding, vis_msg)
    data = array.array("B")
    # Not `msg.data = bytes`: rclpy would check each element, 55 ms for 640x480x3.
    data.frombytes(pixels.reshape(-1).view(np.uint8).data)
    msg_out.header = vis_msg.header
    msg_out.height, msg_out.width, msg_out.encoding = height, width, encoding
    msg_out.is_bigendian = int(pixels.dtype.itemsize > 1 and sys.byteorder == "big")
    msg_out.step = len(data) // height
    msg_out.data = data
    return msg_out


def passed_image(vis_msg: Any, msg_out: Any) -> Any:
    """Return what goes out for a visible message that is not fused: the same image.

    That is `vis_msg` itself, or, of a CompressedImage and of Bayer and YUV, `msg_out` with the
    image in the encoding of the fused ones (`output_encoding`), so that a subscriber sees one
    encoding only. A raw image of an encoding that cannot be read here goes out as it came.

    Raise ImageMessageError where an image that has to be converted is broken.
    """
    compressed = is_compressed(vis_msg)
    if not compressed and output_encoding(vis_msg.encoding) == vis_msg.encoding:
        return vis_msg
    try:
        pixels, order = visible_frame(vis_msg)
    except ImageMessageError as error:
        if compressed or error.kind != "unknown_encoding":
            raise
        return vis_msg
    return fill(msg_out, pixels, vis_msg, order)


def _encode_pixels(fused: np.ndarray, order: str, encoding: str, vis_msg: Any) -> np.ndarray:
    """Bring three channels into `encoding`, C-contiguous."""
    if order not in ("rgb", "bgr"):
        raise FrameError(f"order must be rgb or bgr, got {order!r}")
    fused = np.ascontiguousarray(fused)
    if encoding in ("mono8", "8UC1", "mono16"):
        grey = cv2.cvtColor(fused, cv2.COLOR_RGB2GRAY if order == "rgb" else cv2.COLOR_BGR2GRAY)
        return grey.astype(np.uint16) * np.uint16(257) if encoding == "mono16" else grey
    if order != natural_order(encoding):
        fused = cv2.cvtColor(fused, cv2.COLOR_RGB2BGR)
    if encoding in ("rgba8", "bgra8"):
        return np.concatenate([fused, view(vis_msg)[..., 3:]], axis=2)
    return fused


def _is_known(encoding: str) -> bool:
    return encoding in LAYOUTS or encoding in SEMI_PLANAR


def _view_semi_planar(msg: Any, height: int, width: int, step: int) -> np.ndarray:
    if width % 2 or height % 2:
        raise _odd_size(msg)
    rows = height * 3 if msg.encoding == "nv24" else height * 3 // 2
    if step * height == rows * width == len(msg.data):
        step = width  # some drivers write all bytes / height, as if the chroma were in the row
    _check_step(msg, step, width)
    if msg.encoding == "nv24" and step != width:
        raise ImageMessageError(
            "wrong_step", f"nv24 with padded rows ({step} bytes for {width} pixels) is ambiguous"
        )
    _check_length(msg, (rows - 1) * step + width)
    return np.ndarray((rows, width), np.uint8, msg.data, 0, (step, 1))


def _check_step(msg: Any, step: int, row_bytes: int) -> None:
    if step < row_bytes:
        raise ImageMessageError(
            "wrong_step",
            f"expected a step of at least {row_bytes} bytes for {msg.width} pixels of "
            f"{msg.encoding}, found {step}; the driver fills in the message wrongly",
        )


def _check_length(msg: Any, needed: int) -> None:
    # Bytes after the last row are harmless, and the last row's own padding may be missing.
    if len(msg.data) < needed:
        raise ImageMessageError(
            "short_data",
            f"expected {needed} bytes for {msg.width}x{msg.height} {msg.encoding} with step "
            f"{msg.step}, found {len(msg.data)}; the message was cut short",
        )


def _check_finite(pixels: np.ndarray) -> None:
    finite = np.isfinite(pixels)
    if not finite.all():
        count = finite.size - int(np.count_nonzero(finite))
        raise ImageMessageError(
            "not_finite",
            f"expected temperatures, found NaN or infinity in {count} of {finite.size} pixels; "
            "have the driver replace its dead pixels",
        )


def _odd_size(msg: Any) -> ImageMessageError:
    return ImageMessageError(
        "odd_size",
        f"expected even sides for {msg.encoding} (chroma is shared between pixels), found "
        f"{msg.width}x{msg.height}",
    )


def _through_cv_bridge(msg: Any, wanted: str) -> np.ndarray:
    """Have cv_bridge convert an encoding that we do not know, or say why it cannot."""
    bridge, why_not = _cv_bridge()
    if bridge is None:
        raise ImageMessageError(
            "unknown_encoding",
            f"encoding {msg.encoding!r} is not known here, and {why_not}; set the driver to one "
            f"of {', '.join(sorted(LAYOUTS))}",
        )
    try:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, wanted))
    except Exception as error:  # cv_bridge raises its own, cv2's, KeyError, TypeError, ValueError
        raise ImageMessageError(
            "unknown_encoding", f"cv_bridge cannot convert {msg.encoding!r} to {wanted}: {error}"
        ) from error


def _cv_bridge() -> Tuple[Any, str]:
    """A CvBridge, or None and the reason."""
    # The cv_bridge of Humble and Jazzy is built against NumPy 1: under NumPy 2 the import fails or
    # takes the process down, which no except clause can catch.
    if int(np.__version__.split(".")[0]) >= 2:
        return None, "cv_bridge is not used under NumPy 2"
    try:
        return importlib.import_module("cv_bridge").CvBridge(), ""
    except ImportError as error:
        return None, f"cv_bridge is not usable ({error})"
