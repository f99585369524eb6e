"""Compressed images that are small and cost much: what cv2 writes, and changes to it."""

import struct
import zlib

import cv2
import numpy as np

PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
CODERS = {
    "JPEG": (".jpg", ()),
    "JPEG progressive": (".jpg", PROGRESSIVE),
    "PNG": (".png", ()),
    "TIFF": (".tiff", ()),
    "BMP": (".bmp", ()),
    "PNM": (".ppm", ()),
    "PNM text": (".pgm", (cv2.IMWRITE_PXM_BINARY, 0)),
    "WebP lossy": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80)),
    "WebP lossless": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
}


def coded(name, height=20, width=30, channels=3):
    suffix, options = CODERS[name]
    pixels = np.random.default_rng(height).integers(0, 255, (height, width, channels), np.uint8)
    return cv2.imencode(suffix, pixels[..., 0] if suffix == ".pgm" else pixels, options)[
        1
    ].tobytes()


def png(width=16, height=16, length=None):
    """69 bytes; `length` is what the IDAT chunk says of itself."""

    def chunk(kind, content, length=None):
        size = len(content) if length is None else length
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", size) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(b"") + b"abcd"
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", content, length) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_scans(count, between=b""):
    """A progressive JPEG whose last scan stands there `count` times, with `between` in between."""
    data = coded("JPEG progressive", 64, 64)
    at = data.rindex(b"\xff\xda")
    return data[:at] + (between + data[at:-2]) * count + data[-2:]


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def tiff_of_tags(count, values):
    """A TIFF with its width in `count` tags, each of the same `values` numbers."""
    entries = struct.pack("<HHII", 256, 4, values, 8) * count
    data = b"II*\0" + struct.pack("<IH", 8, count) + entries
    return data + bytes(max(0, 8 + 4 * values - len(data)))


def declaring(name, width, height):
    """A small file whose header declares another size."""
    data = bytearray(coded(name, 20, 30))
    if name == "PNG":
        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif name.startswith("JPEG"):
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        struct.pack_into(">HH", data, at + 5, height, width)
    elif name == "BMP":
        struct.pack_into("<ii", data, 18, width, -height)
        struct.pack_into("<I", data, 30, 1)  # run lengths: no more bytes are needed
    elif name.startswith("PNM"):
        data = data.replace(b"30 20", b"#1 1\r%d %d" % (width, height), 1)
    elif name == "TIFF":
        (first,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, first)
        for at in range(first + 2, first + 2 + 12 * count, 12):
            tag = struct.unpack_from("<H", data, at)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", data, at + 2, 4, 1, width if tag == 256 else height)
    elif name == "WebP lossy":
        struct.pack_into("<HH", data, 26, width & 0x3FFF, height & 0x3FFF)
    else:
        struct.pack_into("<I", data, 21, width - 1 & 0x3FFF | (height - 1 & 0x3FFF) << 14)
    return bytes(data)
