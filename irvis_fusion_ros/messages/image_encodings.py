"""What the encodings of sensor_msgs mean, and how each becomes three uint8 channels.

Names follow sensor_msgs/image_encodings.hpp. `yuv422` there is UYVY. Bayer names give the colours
of the first two rows from the top left; OpenCV's own start one pixel later: its "BG" is our rggb.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.thermal.palettes import FalseColour, grey_of

KINDS = (
    "zero_size", "wrong_step", "short_data", "odd_size", "unknown_encoding", "not_finite",
    "undecodable", "wrong_depth", "unknown_format", "too_large", "too_many_scans", "unreadable",
)  # fmt: skip

MOST_PIXELS = 4096 * 3072
"""Default of the parameter max_pixels: 4K video has 8.3 million, 12-megapixel cameras fit."""


class ImageMessageError(FrameError):
    """An image message that cannot be used; `kind`, one of KINDS, is stable, the text is not."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Layout(NamedTuple):
    """How the pixels of an encoding lie in a row: numpy type code without byte order, channels."""

    type_code: str
    channels: int


LAYOUTS: dict[str, Layout] = {
    "mono8": Layout("u1", 1),
    "8UC1": Layout("u1", 1),
    "mono16": Layout("u2", 1),
    "16UC1": Layout("u2", 1),
    "32FC1": Layout("f4", 1),
    "rgb8": Layout("u1", 3),
    "bgr8": Layout("u1", 3),
    "8UC3": Layout("u1", 3),
    "rgba8": Layout("u1", 4),
    "bgra8": Layout("u1", 4),
}

_BAYER: dict[str, int] = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
for _pattern in _BAYER:
    LAYOUTS[_pattern + "8"] = Layout("u1", 1)
    LAYOUTS[_pattern + "16"] = Layout("u2", 1)

_YUV422: dict[str, int] = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
for _name in _YUV422:
    LAYOUTS[_name] = Layout("u1", 2)

# One plane of luma, then one of interleaved chroma: at half resolution, nv24 at full.
SEMI_PLANAR: dict[str, int] = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    "nv24": cv2.COLOR_YUV2RGB_NV12,
}

PLANES = {"nv12": 1.5, "nv21": 1.5, "nv24": 3}
"""Rows of data for each row of pixels, where luma and chroma lie apart."""
DIRECT_ORDER = {"rgb8": "rgb", "rgba8": "rgb", "bgr8": "bgr", "bgra8": "bgr", "8UC3": "bgr"}
_GREY = ("mono8", "8UC1", "mono16")


def output_encoding(encoding: str) -> str:
    """The encoding in which a fused frame goes out for a visible frame of `encoding`.

    The same, except that Bayer, YUV and whatever cv_bridge converts go out as rgb8: a fused frame
    has no mosaic and no subsampled chroma to go back into.
    """
    return encoding if encoding in DIRECT_ORDER or encoding in _GREY else "rgb8"


def to_rgb_or_bgr(array: np.ndarray, encoding: str) -> tuple[np.ndarray, str]:
    """Turn what `view` gave for a visible frame into HxWx3 uint8 and its order, "rgb" or "bgr".

    Three channels of 8 bits pass through without a copy, in the order they have (8UC3 counts as
    bgr); of four, the first three (a view; `fill` takes alpha from the message again). Grey
    becomes three equal channels; 16 bits keep their upper 8. Chroma is read as BT.601 video range,
    as OpenCV does.

    Raises:
        ImageMessageError: Of kind unknown_encoding, for no visible image (16UC1, 32FC1).
    """
    if encoding in DIRECT_ORDER:
        return array[..., :3], DIRECT_ORDER[encoding]
    if encoding in _GREY:
        return cv2.cvtColor(_upper_8_bits(array), cv2.COLOR_GRAY2RGB), "rgb"
    if encoding in _YUV422:
        return cv2.cvtColor(np.ascontiguousarray(array), _YUV422[encoding]), "rgb"
    if encoding in SEMI_PLANAR:
        return _semi_planar_to_rgb(array, encoding), "rgb"
    pattern = encoding.rstrip("0123456789")
    if pattern in _BAYER and encoding in LAYOUTS:
        # Interpolate before the low bits go, so that 16 bits round once.
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return _upper_8_bits(cv2.cvtColor(native, _BAYER[pattern])), "rgb"
    raise ImageMessageError(
        "unknown_encoding",
        f"expected a visible image, found encoding {encoding!r}; publish one of "
        f"{', '.join(sorted(list(DIRECT_ORDER) + list(_GREY)))}, Bayer or YUV",
    )


def to_grey(array: np.ndarray, encoding: str, palette: str = "auto") -> FalseColour:
    """Turn what `view` gave for a thermal frame into one channel, HxW.

    One channel passes through as it is (uint8, uint16, float32; any byte order becomes this
    machine's). Colour, which a false-colour or grey-in-RGB thermal camera sends, is turned back
    by `palettes.grey_of`. YUV gives its Y plane, without a conversion.
    """
    height = array.shape[0]
    if encoding in _YUV422:
        luma = array[..., 1 if _YUV422[encoding] == cv2.COLOR_YUV2RGB_UYVY else 0]
        return FalseColour(luma, "grey")
    if encoding in SEMI_PLANAR:
        luma = array[: int(height / PLANES[encoding])]
        return FalseColour(luma, "grey")
    if array.ndim == 2 and encoding.rstrip("0123456789") not in _BAYER:
        return FalseColour(array.astype(array.dtype.newbyteorder("="), copy=False), "grey")
    pixels, order = to_rgb_or_bgr(array, encoding)
    return grey_of(pixels if order == "bgr" else pixels[..., ::-1], palette)


def _upper_8_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype.itemsize == 1:
        return np.ascontiguousarray(array)
    return (array >> 8).astype(np.uint8)


def _semi_planar_to_rgb(array: np.ndarray, encoding: str) -> np.ndarray:
    code = SEMI_PLANAR[encoding]
    rows = array.shape[0]
    if encoding != "nv24":
        return cv2.cvtColor(np.ascontiguousarray(array), code)
    # OpenCV has no semi-planar 4:4:4; chroma at half resolution is what nv12 carries anyway.
    height, width = rows // 3, array.shape[1]
    chroma = np.ascontiguousarray(array[height:]).reshape(height, width, 2)
    half = cv2.resize(chroma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.cvtColorTwoPlane(np.ascontiguousarray(array[:height]), half, code)
