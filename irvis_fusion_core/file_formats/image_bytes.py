"""Image files as bytes: format, size and wholeness from the header, and the pixels.

OpenCV fills up truncated files (JPEG up to 4.6 without a word), allocates what a header declares,
and reads every scan, so that all of this is checked before it decodes.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import ImageFileError

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
# Profiles and Exif data take a few dozen, thermal data 256; more would only cost time.
_MOST_JPEG_SEGMENTS = 1024
# The next marker, also behind the data of a scan: there 0xFF is followed by 0 or a restart.
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_TIFF_PLACES = {273: 279, 324: 325}  # offsets of strips and tiles: their byte counts
_TIFF_BITS, _TIFF_NUMBERS = 258, 339
_UNSIGNED, _FLOATING = 1, 3
_TIFF_SIZES = (256, 257, 322, 323)  # width and height of the image and of its tiles
_MOST_TIFF_VALUES = 1 << 20  # places of strips and tiles: a tile of 8x8 in the largest image each
_PNM_GAP = rb"(?:\s|#[^\r\n]*[\r\n]){1,1000}"
_PNM_SIZE = re.compile(rb"P[1-6]%b(\d{1,9})%b(\d{1,9})\s" % (_PNM_GAP, _PNM_GAP))

_STARTS = (
    (_PNG_START, "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
    *((b"P%d" % number, "PNM") for number in range(1, 7)),
    (b"GIF8", "GIF"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?R", "Radiance HDR"),
    (b"P7", "PAM"),
    (b"Pf", "PFM"),
    (b"PF", "PFM"),
    (b"Y\xa6j\x95", "Sun raster"),
)
MESSAGE_FORMATS = ("JPEG", "PNG", "TIFF", "WebP")
"""Formats of compressed images in messages."""
FILE_FORMATS = (*MESSAGE_FORMATS, "BMP", "PNM")
"""Formats of image files."""
MOST_FILE_PIXELS = 1 << 26
"""8192x8192; in four channels of 16 bits they are 512 MiB."""
MOST_FILE_BYTES = 1 << 29
MOST_SCANS = 32
"""Of a JPEG. Usual encoders write 1 to 18; each costs a pass over the whole image."""


class ImageHeader(NamedTuple):
    """What an image file says of itself: format, sides in pixels, scans of a JPEG."""

    format: str
    width: int
    height: int
    scans: int = 1


class Bounds(NamedTuple):
    """What is decoded: formats, most pixels, most bytes."""

    formats: tuple[str, ...] = FILE_FORMATS
    pixels: int = MOST_FILE_PIXELS
    bytes: int = MOST_FILE_BYTES


FILES = Bounds()


def decode(data: bytes, flags: int, name: str, bounds: Bounds = FILES) -> np.ndarray:
    """Return the pixels of an image file as `cv2.imdecode` gives them with `flags`.

    Args:
        name: names the file in errors.

    Raises:
        ImageFileError: see `check`; or OpenCV cannot read it.
    """
    header = check(data, name, bounds)
    bits, numbers = tiff_value(data, _TIFF_BITS, 1), tiff_value(data, _TIFF_NUMBERS, _UNSIGNED)
    if (numbers == _UNSIGNED and bits > 16) or (numbers == _FLOATING and bits < 32):
        what = "unsigned integers" if numbers == _UNSIGNED else "floating point"
        raise ImageFileError(
            "unknown_format",
            f"expected at most 16 bits, or floating point of 32 or 64, in {name}, found {what} of "
            f"{bits} bits; convert it",
        )  # OpenCV before 4.5 reads other numbers from them
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageFileError(
            "undecodable", f"expected an image in {name}, OpenCV refused it: {error}"
        ) from error
    if image is None:
        raise ImageFileError(
            "undecodable",
            f"expected an image in {name}, found {header.format} of {header.width}x"
            f"{header.height} that OpenCV cannot read: truncated or damaged (copy or send it "
            "again), or floating point where an image of 8 bits is needed (convert it to PNG)",
        )
    return image


def check(data: bytes, name: str, bounds: Bounds = FILES) -> ImageHeader:
    """Return the header of an image file that may be decoded.

    A few kilobytes can unpack to gigabytes, or take minutes. Nothing is unpacked here.

    Raises:
        ImageFileError: of kind undecodable (truncated, damaged, or no image), unknown_format,
            too_large (bytes or declared pixels), or too_many_scans.
    """
    if len(data) > bounds.bytes:
        raise ImageFileError(
            "too_large",
            f"expected at most {bounds.bytes} bytes in {name}, found {len(data)}; make it smaller",
        )
    kind = _format_of(data)
    if kind and kind not in bounds.formats:
        raise ImageFileError(
            "unknown_format",
            f"expected one of the formats {', '.join(bounds.formats)} in {name}, found {kind}; "
            "convert it",
        )
    size = declared_size(data) if is_whole(data) else None
    if size is None or min(size) < 1:
        raise _unreadable(data, name)
    if size[0] * size[1] > bounds.pixels:
        raise ImageFileError(
            "too_large",
            f"expected an image of at most {bounds.pixels} pixels, found that {name} declares "
            f"{size[0]}x{size[1]}; make it smaller",
        )
    scans = _scans(data) if kind == "JPEG" else 1
    if scans > MOST_SCANS:
        raise ImageFileError(
            "too_many_scans",
            f"expected a JPEG of at most {MOST_SCANS} scans in {name}, found more; encode it as "
            "baseline JPEG",
        )
    return ImageHeader(kind, *size, scans)


def is_whole(data: bytes) -> bool:
    """Return False for an empty or truncated file; True for formats that are not known here."""
    if data.startswith(_PNG_START):
        return _png_is_whole(data)
    if data.startswith(_JPEG_START):
        scans = (end for marker, _, end in jpeg_segments(data) if marker == _START_OF_SCAN)
        return data.find(b"\xff\xd9", next(scans, len(data))) >= 0
    try:
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_is_whole(data)
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
    """Return width and height from the head of an image file; None where it has none.

    A tile of a TIFF that is larger than the image counts for it: it is unpacked as a whole.
    """
    readers: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
        "PNG": _png_size,
        "JPEG": _jpeg_size,
        "TIFF": _tiff_size,
        "BMP": _bmp_size,
        "PNM": _pnm_size,
        "WebP": _webp_size,
    }
    read = readers.get(_format_of(data))
    try:
        return None if read is None else read(data)
    except struct.error:
        return None


def has_more_images(data: bytes) -> bool:
    """Return whether a file declares more images than the first, which alone is read."""
    try:
        if data.startswith(_PNG_START):
            return data.find(b"acTL", 0, data.find(b"IDAT")) > 0
        if _format_of(data) == "WebP":
            return data[12:16] == b"VP8X" and bool(data[20] & 2)
        if _format_of(data) == "TIFF":
            order = "<" if data[:1] == b"I" else ">"
            (first,) = struct.unpack_from(order + "I", data, 4)
            (count,) = struct.unpack_from(order + "H", data, first)
            return bool(struct.unpack_from(order + "I", data, first + 2 + 12 * count)[0])
    except (struct.error, IndexError):  # ends within its head
        pass
    return False


def tiff_value(data: bytes, tag: int, default: int) -> int:
    """Return the first value of a tag of a TIFF; the default where it has none, or is no TIFF."""
    if _format_of(data) != "TIFF":
        return default
    try:
        return _tiff_values(data, (tag,)).get(tag, (default,))[0]
    except struct.error:
        return default


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each JPEG segment; of a scan, of its head."""
    at = 2
    for _ in range(_MOST_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, at)
        if found is None or found.end() + 2 > len(data) or found[1][0] == _END_OF_IMAGE:
            return
        at = found.end()
        end = at + struct.unpack_from(">H", data, at)[0]
        yield found[1][0], at + 2, end
        at = end


def _scans(data: bytes) -> int:
    """Return the scans of a JPEG; more than `MOST_SCANS` where it has too many segments."""
    markers = [marker for marker, _, _ in jpeg_segments(data)]
    scans = markers.count(_START_OF_SCAN)
    return scans if len(markers) < _MOST_JPEG_SEGMENTS else MOST_SCANS + 1


def _format_of(data: bytes) -> str:
    """Return the format that the first bytes name, or an empty text."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "AVIF or HEIC"
    return next((name for start, name in _STARTS if data.startswith(start)), "")


def _unreadable(data: bytes, name: str) -> ImageFileError:
    return ImageFileError(
        "undecodable",
        f"expected a whole image in {name}, found {len(data)} bytes that cannot be "
        "read: truncated, damaged, or no image; copy or send it again",
    )


def _png_size(data: bytes) -> tuple[int, int] | None:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    return (width, height) if kind == b"IHDR" else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, start, _ in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, start + 1)
            return width, height
    return None


def _bmp_size(data: bytes) -> tuple[int, int]:
    (head_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if head_bytes == 12 else "<ii", data, 18)
    return width, abs(height)


def _pnm_size(data: bytes) -> tuple[int, int] | None:
    found = _PNM_SIZE.match(data)
    return (int(found[1]), int(found[2])) if found else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        low, high = struct.unpack_from("<I", data, 24)[0], struct.unpack_from("<I", data, 26)[0]
        return (low & 0xFFFFFF) + 1, (high >> 8) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    values = _tiff_values(data, _TIFF_SIZES)
    width, height, tile_width, tile_height = (max(values.get(tag, (0,))) for tag in _TIFF_SIZES)
    tile_is_larger = tile_width * tile_height > width * height > 0
    return (tile_width, tile_height) if tile_is_larger else (width, height)


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


def _tiff_is_whole(data: bytes) -> bool:
    values = _tiff_values(data, (*_TIFF_PLACES, *_TIFF_PLACES.values()))
    return all(
        start + length <= len(data)
        for places, lengths in _TIFF_PLACES.items()
        for start, length in zip(values.get(places, ()), values.get(lengths, ()))
    )


def _tiff_values(data: bytes, tags: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return the values of `tags` of the first image; struct.error where it is cut off or odd."""
    order = "<" if data[:1] == b"I" else ">"
    (first,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, first)
    values: dict[int, tuple[int, ...]] = {}
    room = min(_MOST_TIFF_VALUES, len(data))  # tags may share their values, all over again
    for at in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, at)
        if tag in tags:
            if kind not in (3, 4) or not number:
                raise struct.error("neither SHORT nor LONG, or no value")
            room -= number
            if room < 0:
                raise struct.error("more values than an image needs")
            code = f"{order}{number}{'H' if kind == 3 else 'I'}"
            inline = struct.calcsize(code) <= 4
            place = at + 8 if inline else struct.unpack_from(order + "I", data, at + 8)[0]
            # All of a tag that occurs twice: libraries differ in which they take.
            values[tag] = values.get(tag, ()) + struct.unpack_from(code, data, place)
    return values
