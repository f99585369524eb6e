"""Convert images to what a camera would send: size, encoding, codec.

An 8-bit thermal image becomes raw counts linearly: black is the lower end of `counts`, white the
upper one. The default is 20 °C … 40 °C in centikelvin.
"""

from __future__ import annotations

import types
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.image_files import stored_8_bit
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.bag import COMPRESSED_TYPE, IMAGE_TYPE
from irvis_fusion_ros.messages.image_encodings import LAYOUTS
from irvis_fusion_ros.messages.protocols import AnyImageMessage, CameraInfoMessage, Header

IR_ENCODINGS = ("mono8", "8UC1", "mono16", "16UC1", "32FC1")
VIS_ENCODINGS = ("bgr8", "rgb8", "mono8", "bgra8", "rgba8", "bayer_rggb8")
CODECS = ("jpeg", "png")
JPEG_QUALITY = 90
ROOM_COUNTS = (29315, 31315)
"""20 °C and 40 °C in centikelvin."""


class ImageForm(NamedTuple):
    """The form in which a camera sends images."""

    encoding: str
    codec: str | None = None  # one of CODECS; None sends Image
    size: tuple[int, int] | None = None  # (height, width); None keeps the image's
    counts: tuple[int, int] = ROOM_COUNTS

    @property
    def type(self) -> str:
        """The type of the messages."""
        return COMPRESSED_TYPE if self.codec else IMAGE_TYPE


def check_form(name: str, form: ImageForm) -> None:
    """Raise ConfigurationError unless the form is possible; `name` is "ir" or "vis"."""
    encodings = IR_ENCODINGS if name == "ir" else VIS_ENCODINGS
    for given, allowed in ((form.encoding, encodings), (form.codec or CODECS[0], CODECS)):
        if given not in allowed:
            raise ConfigurationError(
                f"expected {name} images as one of {', '.join(allowed)}, found {given!r}"
            )
    low, high = form.counts
    if not 0 <= low < high <= 65535:
        raise ConfigurationError(f"expected counts 0 <= LOW < HIGH <= 65535, found {low}:{high}")
    held = {None: ("u1", "u2", "f4"), "png": ("u1", "u2"), "jpeg": ("u1",)}[form.codec]
    if LAYOUTS[form.encoding].type_code not in held:
        raise ConfigurationError(
            f"expected {name} images that {form.codec} can hold, found {form.encoding}; png takes "
            "16 bits, raw alone takes floats"
        )


def thermal_pixels(image: np.ndarray, form: ImageForm) -> np.ndarray:
    """Return a thermal image HxW in the form's encoding and size.

    uint16 images are counts and keep their values; 32FC1 is kelvin, a hundredth of the counts.
    """
    image = _at_size(image, form.size)
    dtype = np.dtype("<" + LAYOUTS[form.encoding].type_code)
    if dtype == np.uint8:
        return stored_8_bit(image)
    if image.dtype == np.float32:
        counts = np.clip(np.rint(100.0 * image), 0, 65535)  # from kelvin
    elif image.dtype == np.uint8:
        low, high = form.counts
        counts = np.rint(low + image.astype(np.float32) * ((high - low) / 255.0))
    else:
        counts = image
    if dtype.kind == "f":
        return (np.asarray(counts, np.float32) / np.float32(100.0)).astype(dtype)
    return counts.astype(dtype)


def visible_pixels(image_rgb: np.ndarray, form: ImageForm) -> np.ndarray:
    """Return an RGB image HxWx3 uint8 in the form's encoding and size."""
    image = _at_size(image_rgb, form.size)
    if form.encoding == "rgb8":
        return image
    if form.encoding == "bayer_rggb8":  # red, green in even rows; green, blue in odd ones
        mosaic = image[..., 1].copy()
        mosaic[0::2, 0::2] = image[0::2, 0::2, 0]
        mosaic[1::2, 1::2] = image[1::2, 1::2, 2]
        return mosaic
    letters = {"mono8": "GRAY"}.get(form.encoding, form.encoding[:-1].upper())
    return cv2.cvtColor(image, getattr(cv2, "COLOR_RGB2" + letters))


def image_message(
    pixels: np.ndarray, form: ImageForm, stamp_ns: int, frame_id: str
) -> AnyImageMessage:
    """Return these pixels with the fields of sensor_msgs/Image or CompressedImage."""
    header = make_header(stamp_ns, frame_id)
    pixels = np.ascontiguousarray(pixels)
    if form.codec is None:
        return types.SimpleNamespace(
            header=header,
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=form.encoding,
            is_bigendian=0,
            step=pixels[0].nbytes,
            data=pixels.reshape(-1).view(np.uint8),
        )
    to_bgr = {"rgb8": cv2.COLOR_RGB2BGR, "rgba8": cv2.COLOR_RGBA2BGRA}.get(form.encoding)
    stored = pixels if to_bgr is None else cv2.cvtColor(pixels, to_bgr)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if form.codec == "jpeg" else []
    _, coded = cv2.imencode("." + form.codec, stored, quality)
    held = {1: form.encoding, 3: "bgr8", 4: "bgra8"}[1 if stored.ndim == 2 else stored.shape[2]]
    text = f"{form.encoding}; {form.codec} compressed {held}"
    return types.SimpleNamespace(header=header, format=text, data=coded.reshape(-1))


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """Return an object with the fields of std_msgs/Header."""
    stamp = types.SimpleNamespace(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)
    return types.SimpleNamespace(stamp=stamp, frame_id=frame_id)


def camera_info(
    header: Header, height: int, width: int, field_of_view_deg: float
) -> CameraInfoMessage:
    """Return the CameraInfo of a pinhole camera; a (horizontal) field of view of 0 leaves K 0."""
    matrix = rotation = np.zeros((3, 3))
    if field_of_view_deg > 0:
        focal = 0.5 * width / np.tan(np.radians(field_of_view_deg) / 2)
        matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        rotation = np.eye(3)
    return types.SimpleNamespace(
        header=header,
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=matrix.reshape(-1),
        r=rotation.reshape(-1),
        p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=types.SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def _at_size(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or image.shape[:2] == size:
        return image
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
