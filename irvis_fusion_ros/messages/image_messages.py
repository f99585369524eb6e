"""sensor_msgs/Image to numpy without a copy, and fused pixels into a message with one copy.

The node and the bag tools read `serialized_image.SerializedImage`; here whatever has the fields of
sensor_msgs/Image will do. `irvis_fusion_ros.messages.compressed_messages` holds the same for
CompressedImage; `visible_frame` and `thermal_frame` take either. Every unusable message raises
ImageMessageError, whose `kind` is stable. This file imports no ROS.
"""

from __future__ import annotations

import importlib
from typing import cast

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.frames import in_order
from irvis_fusion_core.thermal.palettes import FalseColour
from irvis_fusion_ros.messages import image_encodings as encodings
from irvis_fusion_ros.messages.compressed_messages import decode
from irvis_fusion_ros.messages.image_encodings import DIRECT_ORDER, ImageMessageError
from irvis_fusion_ros.messages.protocols import (
    AnyImageMessage,
    CompressedImageMessage,
    ImageMessage,
)
from irvis_fusion_ros.messages.serialized_image import (
    AnySerializedImage,
    ImageInPlace,
    SerializedImage,
    image_bytes,
)


def is_compressed(msg: AnyImageMessage) -> bool:
    """Return whether `msg` is a CompressedImage rather than an Image."""
    return not hasattr(msg, "encoding")


def view(
    msg: ImageMessage, check_finite: bool = True, max_pixels: int | None = None
) -> np.ndarray:
    """Return the pixels of an Image where they lie, without a copy; do not write into them.

    Args:
        msg: The message. While the array lives, `msg.data` cannot be resized.
        check_finite: Refuse float pixels that are NaN or infinite.
        max_pixels: Refuse larger images.

    Returns:
        HxW for one channel and Bayer, HxWxC for colour, HxWx2 for packed YUV 4:2:2, and all planes
        as rows of luma width for nv12, nv21 (1.5 H rows) and nv24 (3 H rows). uint8, uint16 or
        float32 in the byte order of the message; padded rows become strides.

    Raises:
        ImageMessageError: Of kind zero_size, too_large, unknown_encoding, wrong_step, short_data,
            wrong_depth, odd_size or not_finite.
    """
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    _refuse_large(msg, max_pixels)
    if height < 1 or width < 1:
        raise ImageMessageError(
            "zero_size",
            f"expected an image with pixels, found {width}x{height}; check the camera driver",
        )
    if msg.encoding in encodings.SEMI_PLANAR:
        return _view_semi_planar(msg, height, width, step)
    layout = encodings.LAYOUTS.get(msg.encoding)
    if layout is None:
        raise ImageMessageError(
            "unknown_encoding",
            f"expected one of the encodings {', '.join(sorted(encodings.LAYOUTS))}, "
            f"{', '.join(encodings.SEMI_PLANAR)}, found {msg.encoding!r}; set the driver to one",
        )
    if layout.channels == 2 and width % 2:
        raise _odd_size(msg)
    dtype = np.dtype((">" if msg.is_bigendian else "<") + layout.type_code)
    pixel_bytes = dtype.itemsize * layout.channels
    if dtype.itemsize == 2 and len(msg.data) == height * width * layout.channels:
        raise _wrong_depth(msg.encoding)
    _check_length(msg, height, step, width * pixel_bytes)
    shape: tuple[int, ...] = (height, width)
    strides: tuple[int, ...] = (step, pixel_bytes)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, dtype.itemsize)
    pixels: np.ndarray = np.ndarray(shape, dtype, msg.data, 0, strides)
    if check_finite and dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageMessageError(
            "not_finite",
            f"expected temperatures, found NaN or infinity in {np.sum(~np.isfinite(pixels))} of"
            f" {pixels.size} pixels; have the driver replace its dead pixels",
        )
    return pixels


def visible_frame(
    msg: AnyImageMessage, pixels: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Read a visible Image or CompressedImage.

    Here and in `thermal_frame`, encodings that this package does not know go through cv_bridge
    where a usable one is installed.

    Args:
        pixels: What `view` or `unpacked_visible` gave for `msg`, where it was read before.

    Returns:
        HxWx3 uint8, and its channel order, "rgb" or "bgr"; see `to_rgb_or_bgr`.

    Raises:
        ImageMessageError: It cannot be read.
    """
    if is_compressed(msg):
        if pixels is None:
            pixels = unpacked_visible(cast(CompressedImageMessage, msg))
        return pixels, "bgr"
    image = cast(ImageMessage, msg)
    if pixels is not None and image.encoding in DIRECT_ORDER:
        return pixels[..., :3], DIRECT_ORDER[image.encoding]
    if pixels is not None or _is_known(image.encoding):
        return encodings.to_rgb_or_bgr(view(image) if pixels is None else pixels, image.encoding)
    return _through_cv_bridge(image, "rgb8"), "rgb"


def unpacked_visible(
    msg: CompressedImageMessage, max_pixels: int = encodings.MOST_PIXELS
) -> np.ndarray:
    """Decode a visible CompressedImage into HxWx3 uint8, BGR; raises as `decode`."""
    pixels, order = encodings.to_rgb_or_bgr(*decode(msg, max_pixels))
    return pixels if order == "bgr" else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)


def thermal_frame(msg: AnyImageMessage, check_finite: bool = True) -> np.ndarray:
    """Return `thermal_image` of a message without the name of its palette; raises the same."""
    return thermal_image(msg, check_finite).grey


def thermal_image(
    msg: AnyImageMessage,
    check_finite: bool = True,
    palette: str = "auto",
    max_pixels: int | None = None,
) -> FalseColour:
    """Read a thermal Image or CompressedImage as it was sent; see `to_grey` for colour and YUV.

    Args:
        check_finite: Refuse frames without a single finite pixel.
        palette: How the camera colours its images, a name of `palettes.PALETTES`.
        max_pixels: Refuse larger images; compressed ones are not unpacked.

    Returns:
        HxW uint8, uint16 or float32, and the name of the palette ("grey" without one).

    Raises:
        ImageMessageError: It cannot be read.
    """
    if is_compressed(msg):
        packed = cast(CompressedImageMessage, msg)
        pixels, encoding = decode(packed, max_pixels or encodings.MOST_PIXELS)
        source = encodings.LAYOUTS.get(packed.format.split(";")[0].strip())
        if source and source.type_code != "u1" and pixels.dtype == np.uint8:
            raise _wrong_depth(packed.format)
        return encodings.to_grey(pixels, encoding, palette)
    image = cast(ImageMessage, msg)
    if not _is_known(image.encoding):
        _refuse_large(image, max_pixels)
        return FalseColour(_through_cv_bridge(image, "mono8"), "grey")
    pixels = view(image, False, max_pixels)
    if check_finite and pixels.dtype.kind == "f" and not np.isfinite(pixels).any():
        raise ImageMessageError(
            "not_finite", f"expected temperatures, found none in {pixels.size} pixels"
        )
    return encodings.to_grey(pixels, image.encoding, palette)


def _wrong_depth(name: str) -> ImageMessageError:
    return ImageMessageError(
        "wrong_depth",
        f"expected 16 bits a pixel under the name {name!r}, found 8: the counts are cut off; "
        "use the raw transport, or PNG in place of JPEG",
    )


def fused_bytes(fused: np.ndarray, vis_msg: AnySerializedImage, order: str | None = None) -> bytes:
    """Return a fused image as a serialized sensor_msgs/Image in the form of the visible one.

    Header and encoding are those of the visible message (`output_encoding`: Bayer and YUV go out
    as rgb8, a CompressedImage as bgr8), rows unpadded. Alpha is copied from the visible message;
    grey takes the luma; mono16 has it times 257, full range.

    Args:
        fused: HxWx3 uint8.
        vis_msg: The visible message.
        order: Channel order of `fused`; None means the one that `to_rgb_or_bgr` gives for the
            encoding of `vis_msg`.

    Raises:
        FrameError: `fused` does not fit the visible message.
        ConfigurationError: An unknown `order`.
    """
    if not isinstance(vis_msg, SerializedImage):
        return image_bytes(vis_msg.head, "bgr8", in_order(fused, order or "bgr", "bgr"))
    encoding = vis_msg.encoding
    wanted = DIRECT_ORDER.get(encoding, "rgb")
    pixels = in_order(fused, order or wanted, wanted)
    if fused.shape[:2] != (vis_msg.height, vis_msg.width):
        raise FrameError(
            f"expected fused of the visible size {vis_msg.width}x{vis_msg.height}, "
            f"got {fused.shape[1]}x{fused.shape[0]}"
        )
    if encoding in ("rgba8", "bgra8"):
        pixels = np.concatenate([pixels, view(vis_msg)[..., 3:]], axis=2)
    elif encoding not in DIRECT_ORDER:
        encoding = encodings.output_encoding(encoding)
        pixels = pixels if encoding == "rgb8" else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if encoding == "mono16":
            pixels = pixels.astype(np.uint16) * np.uint16(257)
    return image_bytes(vis_msg.head, encoding, pixels)


def fused_in_place(
    vis_msg: AnySerializedImage, shape: tuple[int, ...], order: str
) -> ImageInPlace | None:
    """Return the message of `fused_bytes` before its pixels are known, to write them into it.

    Returns:
        The message, for a fused image of `shape` and `order`; None where `fused_bytes` converts
        the pixels (alpha, grey, another order) or refuses them.
    """
    if not isinstance(vis_msg, SerializedImage):
        return ImageInPlace(vis_msg.head, "bgr8", shape) if order == "bgr" else None
    encoding = encodings.output_encoding(vis_msg.encoding)
    if encoding not in ("rgb8", "bgr8", "8UC3") or DIRECT_ORDER[encoding] != order:
        return None
    if shape[:2] != (vis_msg.height, vis_msg.width):
        return None
    return ImageInPlace(vis_msg.head, encoding, shape)


def passed_bytes(vis_msg: AnySerializedImage, pixels: np.ndarray | None = None) -> bytes:
    """Return what goes out for a visible message that is not fused: the same image.

    Those are the bytes that came, or, for a CompressedImage, Bayer and YUV, the image in the
    encoding of the fused ones (`output_encoding`), so that a subscriber sees one encoding only. A
    raw image of an encoding that cannot be read here goes out as it came.

    Args:
        pixels: What `view` gave for `vis_msg`, where it was viewed before.

    Raises:
        ImageMessageError: An image that has to be converted is broken.
    """
    encoding = vis_msg.encoding if isinstance(vis_msg, SerializedImage) else None
    if encoding is not None and encodings.output_encoding(encoding) == encoding:
        return bytes(vis_msg.raw)
    try:
        colour, order = visible_frame(vis_msg, pixels)
    except ImageMessageError as error:
        if encoding is None or error.kind != "unknown_encoding":
            raise
        return bytes(vis_msg.raw)
    return fused_bytes(colour, vis_msg, order)


def _refuse_large(msg: ImageMessage, max_pixels: int | None) -> None:
    if max_pixels is not None and msg.height * msg.width > max_pixels:
        raise ImageMessageError(
            "too_large",
            f"expected an image of at most {max_pixels} pixels, found {msg.width}x{msg.height}; "
            "make it smaller, or raise the parameter max_pixels",
        )


def _is_known(encoding: str) -> bool:
    return encoding in encodings.LAYOUTS or encoding in encodings.SEMI_PLANAR


def _view_semi_planar(msg: ImageMessage, height: int, width: int, step: int) -> np.ndarray:
    if width % 2 or height % 2:
        raise _odd_size(msg)
    rows = int(encodings.PLANES[msg.encoding] * height)
    if step * height == rows * width == len(msg.data):
        step = width  # some drivers write all bytes / height, as if the chroma were in the row
    if msg.encoding == "nv24" and step > width:
        raise ImageMessageError(
            "wrong_step", f"nv24 with padded rows ({step} bytes for {width} pixels) is ambiguous"
        )
    _check_length(msg, rows, step, width)
    return np.ndarray((rows, width), np.uint8, msg.data, 0, (step, 1))


def _check_length(msg: ImageMessage, rows: int, step: int, row_bytes: int) -> None:
    """Check step and length of the data of `rows` rows of `row_bytes` bytes each."""
    if step < row_bytes:
        raise ImageMessageError(
            "wrong_step",
            f"expected a step of at least {row_bytes} bytes for {msg.width} pixels of "
            f"{msg.encoding}, found {step}; the driver fills in the message wrongly",
        )
    # Bytes after the last row are harmless, and the last row's own padding may be missing.
    needed = (rows - 1) * step + row_bytes
    if len(msg.data) < needed:
        raise ImageMessageError(
            "short_data",
            f"expected {needed} bytes for {msg.width}x{msg.height} {msg.encoding} with step "
            f"{msg.step}, found {len(msg.data)}; the message was cut short",
        )


def _odd_size(msg: ImageMessage) -> ImageMessageError:
    return ImageMessageError(
        "odd_size",
        f"expected even sides for {msg.encoding} (chroma is shared between pixels), found "
        f"{msg.width}x{msg.height}",
    )


def _through_cv_bridge(msg: ImageMessage, wanted: str) -> np.ndarray:
    """Have cv_bridge convert an encoding that we do not know, or say why it cannot."""
    # The cv_bridge of Humble and Jazzy is built against NumPy 1: under NumPy 2 the import fails or
    # takes the process down, which no except clause can catch.
    bridge, why_not = None, "cv_bridge is not used under NumPy 2"
    if int(np.__version__.split(".")[0]) < 2:
        try:
            bridge = importlib.import_module("cv_bridge").CvBridge()
        except ImportError as error:
            why_not = f"cv_bridge is not usable ({error})"
    if bridge is None:
        raise ImageMessageError(
            "unknown_encoding",
            f"encoding {msg.encoding!r} is not known here, and {why_not}; set the driver to one "
            f"of {', '.join(sorted(encodings.LAYOUTS))}",
        )
    try:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, wanted))
    except Exception as error:  # cv_bridge raises its own, cv2's, KeyError, TypeError, ValueError
        raise ImageMessageError(
            "unknown_encoding", f"cv_bridge cannot convert {msg.encoding!r} to {wanted}: {error}"
        ) from error
