"""sensor_msgs/CompressedImage to numpy and back, in the manner of compressed_image_transport.

Its `format` reads "jpeg", "png", or "<source encoding>; jpeg compressed <stored encoding>".
JPEG and PNG files of colour hold what OpenCV calls bgr8, whatever the source was.
"""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError, ImageFileError
from irvis_fusion_core.file_formats import image_bytes
from irvis_fusion_core.frames import in_order
from irvis_fusion_ros.messages.image_encodings import (
    LAYOUTS,
    MOST_PIXELS,
    ImageMessageError,
)
from irvis_fusion_ros.messages.protocols import CompressedImageMessage
from irvis_fusion_ros.messages.serialized_image import compressed_bytes

# compressed_depth_image_transport puts its ConfigHeader (an enum and two floats) before the PNG.
_DEPTH_HEADER_BYTES = 12
_MOST_BYTES = 1 << 26


def decode(msg: CompressedImageMessage, max_pixels: int = MOST_PIXELS) -> tuple[np.ndarray, str]:
    """Decode a CompressedImage into (array, encoding), shaped as `image_messages.view` would.

    encoding is bgr8, bgra8, mono8, mono16, or the one-channel encoding that `format` names as the
    source (16UC1, a Bayer pattern).

    Raises:
        ImageMessageError: Of kind zero_size for no data, unknown_encoding for pixels that are not
            read here, or of the kinds of `image_bytes.check`; nothing is unpacked then.
    """
    data = bytes(msg.data)
    if not data:
        raise ImageMessageError("zero_size", "expected a compressed image, found no data")
    source = msg.format.split(";")[0].strip()
    if "compressedDepth" in msg.format:
        if source != "16UC1" or "rvl" in msg.format.lower():
            raise ImageMessageError(
                "unknown_encoding",
                f"of compressedDepth only 16UC1 as PNG can be read, found format {msg.format!r}; "
                "use the raw or the compressed transport",
            )
        data = data[_DEPTH_HEADER_BYTES:]
    bounds = image_bytes.Bounds(image_bytes.MESSAGE_FORMATS, max_pixels, _MOST_BYTES)
    try:
        name = f"a message of format {msg.format!r}"
        pixels = image_bytes.decode(data, cv2.IMREAD_UNCHANGED, name, bounds)
    except ImageFileError as error:
        advice = ", or raise the parameter max_pixels" if error.kind == "too_large" else ""
        raise ImageMessageError(error.kind, str(error) + advice) from error
    stored = msg.format.rpartition("compressed")[2].strip()
    if source.startswith("bayer_") and stored in ("mono8", "mono16"):
        source = stored  # the sender has removed the mosaic
    return pixels, _encoding_of(pixels, source)


def encode(fused: np.ndarray, head: bytes, order: str = "rgb", quality: int = 90) -> bytes:
    """Return `fused` (HxWx3 uint8 of `order`) as a serialized CompressedImage, a JPEG.

    `head` is that of the visible message, `quality` 1 to 100.

    Raises:
        FrameError: `fused` is not uint8 HxWx3.
        ConfigurationError: An unknown `order`.
    """
    bgr = in_order(fused, order, "bgr")
    done, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise FrameError(f"OpenCV could not write {fused.shape} as JPEG")
    return compressed_bytes(head, f"{order}8; jpeg compressed bgr8", coded.reshape(-1).data)


def _encoding_of(pixels: np.ndarray, source: str) -> str:
    bits, channels = pixels.dtype.itemsize * 8, 1 if pixels.ndim == 2 else pixels.shape[2]
    layout = LAYOUTS.get(source)
    if channels == 1 and layout is not None and layout == (f"u{bits // 8}", 1):
        return source
    name = {(8, 1): "mono8", (16, 1): "mono16", (8, 3): "bgr8", (8, 4): "bgra8"}.get(
        (bits, channels)
    )
    if name is None:
        raise ImageMessageError(
            "unknown_encoding",
            f"expected an image of 1, 3 or 4 channels of 8 bits, or 1 of 16; found {channels} of "
            f"{bits} bits",
        )
    return name
