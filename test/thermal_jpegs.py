"""Radiometric JPEGs as cameras write them, around one small image."""

import struct

import cv2
import numpy as np

_JPEG = cv2.imencode(".jpg", np.tile(np.arange(0, 160, 2, np.uint8), (60, 1)))[1].tobytes()


def in_segments(marker, head, content, size=40000):
    """Split content into JPEG segments; `head(number, count)` begins each."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    out = b""
    for number, part in enumerate(parts):
        begin = head(number, len(parts) - 1)
        out += struct.pack(">BBH", 0xFF, marker, 2 + len(begin) + len(part)) + begin + part
    return out


def _with_flir(content):
    head = b"FLIR\0\x01"
    segments = in_segments(0xE1, lambda n, last: head + bytes([n, last]), content)
    return _JPEG[:2] + segments + _JPEG[2:]


def radiometric_flir(counts):
    """A FLIR file: raw counts as PNG, and Planck constants of a real camera."""
    raw = bytearray(32) + cv2.imencode(".png", counts.byteswap())[1].tobytes()
    struct.pack_into("<HHH", raw, 0, 2, counts.shape[1], counts.shape[0])
    info = bytearray(900)
    # Emissivity 1 and distance 0: the counts become temperatures by Planck's law alone.
    struct.pack_into("<6f", info, 32, 1.0, 0.0, 293.15, 293.15, 293.15, 1.0)
    struct.pack_into("<f", info, 60, 0.5)
    struct.pack_into("<3f", info, 88, 21106.77, 1501.0, 1.0)
    struct.pack_into("<5f", info, 112, 0.006569, 0.01262, -0.002276, -0.00667, 1.9)
    struct.pack_into("<if", info, 776, -7340, 0.012545258)
    entries, content, at = b"", b"", 64 + 4 * 32
    for kind, record in ((1, raw), (32, info)):
        entries += struct.pack(">HHIIIIIII", kind, 1, 100, 1, at, len(record), 0, 0, 0)
        content, at = content + bytes(record), at + len(record)
    head = struct.pack(">4s16sIII28xI", b"FFF\0", b"made", 100, 64, 4, 0)
    return _with_flir(head + entries + bytes(64) + content)


def flir_of_a_drone(counts):
    """A file of a FLIR core in a drone: little-endian records, raw counts."""
    counts = counts.astype("<u2")
    record = struct.pack("<HHH26x", 2, counts.shape[1], counts.shape[0]) + counts.tobytes()
    head = struct.pack("<4s16sIII32x", b"FFF\0", b"ATAU_RBFO", 100, 64, 1)
    entry = struct.pack("<HHIIIIIII", 1, 2, 100, 1, 96, len(record), 0, 0, 0)
    return _with_flir(head + entry + record)


def dji(raster):
    """A file of DJI: the bytes of a raster in segments of their own."""
    parameters = in_segments(0xE4, lambda n, last: b"\xaa\x55\x12\x06", bytes(100))
    segments = in_segments(0xE3, lambda n, last: b"", raster, 4000)
    return _JPEG[:2] + segments + parameters + _JPEG[2:]
