"""Image files as bytes: which are whole, how large they say they are, and their pixels.

OpenCV fills up truncated files (JPEG up to 4.6 without a word), so that wholeness is checked here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
# Profiles and Exif data take a few dozen, thermal data 256; more would only cost time.
_MOST_JPEG_SEGMENTS = 1024
_START_OF_SCAN = 0xDA
_TIFF_PLACES = {273: 279, 324: 325}  # offsets of strips and tiles: their byte counts


def decode(data: bytes, flags: int, name: str) -> np.ndarray:
    """Return the pixels of an image file as `cv2.imdecode` gives them with `flags`.

    Args:
        name: names the file in errors.

    Raises:
        FrameError: truncated, damaged, or no image.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if is_whole(data) else None
    except cv2.error as error:
        raise FrameError(f"expected an image in {name}, OpenCV refused it: {error}") from error
    if image is None:
        raise FrameError(
            f"expected a whole image in {name}, found {len(data)} bytes that cannot be "
            "read: truncated, or another format than its name says; copy it again"
        )
    return image


def is_whole(data: bytes) -> bool:
    """Return False for an empty or truncated file; True for formats that are not known here."""
    if data.startswith(_PNG_START):
        return _png_is_whole(data)
    if data.startswith(_JPEG_START):
        scans = [end for marker, _, end in jpeg_segments(data) if marker == _START_OF_SCAN]
        return bool(scans) and data.find(b"\xff\xd9", scans[0]) >= 0
    try:
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_is_whole(data, "<" if data[:1] == b"I" else ">")
        if data[:2] == b"BM":
            # Not by the size in the head, which is wrong in the TNO data set.
            start, _, width, height = struct.unpack_from("<IIii", data, 10)
            bits, compression = struct.unpack_from("<HI", data, 28)
            row_bytes = (width * bits + 31) // 32 * 4
            return compression != 0 or start + row_bytes * abs(height) <= len(data)
        if data[:4] == b"RIFF":
            return struct.unpack_from("<I", data, 4)[0] + 8 <= len(data)
    except struct.error:  # ends within its head
        return False
    return bool(data)


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the head of a PNG or JPEG file; None for anything else."""
    if data.startswith(_PNG_START):
        if data[12:16] != b"IHDR" or len(data) < 24:
            return None
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(_JPEG_START):
        for marker, start, _ in jpeg_segments(data):
            starts_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
            if starts_frame and start + 5 <= len(data):
                height, width = struct.unpack(">HH", data[start + 1 : start + 5])
                return width, height
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each JPEG segment up to the first scan."""
    at = 2
    for _ in range(_MOST_JPEG_SEGMENTS):
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":  # fill bytes
            at += 1
        if at < 0 or at + 4 > len(data):
            return
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            length = 0
        yield marker, at + 4, at + 2 + length
        if marker == _START_OF_SCAN:
            return
        at += 2 + length


def _png_is_whole(data: bytes) -> bool:
    at = len(_PNG_START)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[at + 4 : end])):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False


def _tiff_is_whole(data: bytes, order: str) -> bool:
    (first,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, first)
    values = {}
    for at in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, at)
        if tag in (*_TIFF_PLACES, *_TIFF_PLACES.values()) and kind in (3, 4):
            code = f"{order}{number}{'H' if kind == 3 else 'I'}"
            inline = struct.calcsize(code) <= 4
            place = at + 8 if inline else struct.unpack_from(order + "I", data, at + 8)[0]
            values[tag] = struct.unpack_from(code, data, place)
    return all(
        start + length <= len(data)
        for places, lengths in _TIFF_PLACES.items()
        for start, length in zip(values.get(places, ()), values.get(lengths, ()))
    )
