"""JPEG files of thermal cameras that carry the sensor's raster besides a coloured image."""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.file_formats.image_bytes import Bounds, check, declared_size, jpeg_segments
from irvis_fusion_core.optional_packages import pip_advice

_APP1, _APP3, _APP4 = 0xE1, 0xE3, 0xE4
_DJI_PARAMETERS = b"\xaa\x55"
_DJI_SIZES = ((512, 640), (1024, 1280), (256, 336), (120, 160))
_FLIR = b"FLIR\0"
_RAW_RECORD, _CAMERA_RECORD = 1, 32
_SEGMENT_BYTES = 65000
_RASTERS = Bounds(("PNG",), 1 << 22)  # the largest sensor has 1280x1024 pixels
_EXPORT = "export it from the camera's program as 16-bit TIFF"


def thermal_raster(data: bytes, name: str) -> np.ndarray | None:
    """Return the thermal raster of a radiometric JPEG, or None for any other file.

    FLIR files give kelvin (float32 HxW), by the Planck constants in the file. Files of drones give
    the sensor's counts (uint16 HxW): only DJI's own program converts them.

    Args:
        data: a whole file.
        name: names the file in errors.

    Raises:
        FrameError: the raster cannot be read; the error says what to do.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    segments = [(marker, data[start:end]) for marker, start, end in jpeg_segments(data)]
    flir = [c for marker, c in segments if marker == _APP1 and c.startswith(_FLIR)]
    if flir:
        in_order = sorted(flir, key=lambda content: content[6:7])
        records = _read_records(b"".join(content[8:] for content in in_order))
        counts = _counts_of_a_drone(records)
        return _flir_kelvin(records, name) if counts is None else counts
    if any(m == _APP4 and content.startswith(_DJI_PARAMETERS) for m, content in segments):
        raster = b"".join(content for marker, content in segments if marker == _APP3)
        width, height = declared_size(data) or (0, 0)
        for size in ((height, width), *_DJI_SIZES):
            if raster and len(raster) == 2 * size[0] * size[1]:
                return np.frombuffer(raster, "<u2").reshape(size)
        raise FrameError(
            f"{name} is a thermal JPEG of DJI, found {len(raster)} bytes of thermal data for "
            f"{width}x{height} pixels; {_EXPORT}"
        )
    return None


class _Records(NamedTuple):
    """The records of a FLIR file by kind, and the byte order of their directory."""

    order: str
    by_kind: dict[int, memoryview]


def _read_records(content: bytes) -> _Records:
    """Return the first record of each kind that lies within the file; none where it is no FLIR."""
    found: dict[int, memoryview] = {}
    if len(content) < 64 or not content.startswith(b"FFF\0"):
        return _Records("", found)
    order = ">" if struct.unpack_from("<I", content, 20)[0] >> 16 else "<"
    index, count = struct.unpack_from(order + "II", content, 24)
    for entry in range(index, min(index + 32 * count, len(content) - 31), 32):
        kind, _, _, _, at, length = struct.unpack_from(order + "HHIIII", content, entry)
        if length > 32 and at + length <= len(content):
            found.setdefault(kind, memoryview(content)[at : at + length])
    return _Records(order, found)


def _counts_of_a_drone(records: _Records) -> np.ndarray | None:
    """Return the counts of a FLIR Tau core in a drone, such as the XT2; None for other files.

    Its records are little-endian, which readers of FLIR files do not expect.
    """
    raw = records.by_kind.get(_RAW_RECORD)
    if records.order != "<" or raw is None:
        return None
    _, width, height = struct.unpack_from("<HHH", raw)
    if len(raw) != 32 + 2 * width * height:
        return None
    return np.frombuffer(raw, "<u2", offset=32).reshape(height, width).astype(np.uint16)


def _flir_kelvin(records: _Records, name: str) -> np.ndarray:
    try:
        import flyr  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise FrameError(
            f"{name} is a radiometric JPEG of FLIR, whose colours are no temperatures; to read "
            f"its temperatures install flyr: {pip_advice('flyr')}, or {_EXPORT}"
        ) from error
    try:
        thermogram: Any = flyr.unpack(io.BytesIO(_for_flyr(records, name)))
        return np.asarray(thermogram.kelvin, np.float32)
    except FrameError:
        raise
    except Exception as error:  # noqa: BLE001 - of flyr and Pillow, at any bytes
        raise FrameError(
            f"{name} is a JPEG of FLIR whose thermal data flyr cannot read ({error!r}); {_EXPORT}"
        ) from error


def _for_flyr(records: _Records, name: str) -> bytes:
    """Return a JPEG with the two records that temperatures are made of.

    flyr walks as many records and colours as a file declares, and Pillow unpacks its images.

    Raises:
        FrameError: A record is missing, or the image of the counts must not be decoded.
    """
    raw, info = (records.by_kind.get(kind) for kind in (_RAW_RECORD, _CAMERA_RECORD))
    if raw is None or info is None:
        raise FrameError(f"{name} is a JPEG of FLIR without whole thermal data; {_EXPORT}")
    if raw[32:].tobytes().startswith(b"\x89PNG"):
        check(raw[32:].tobytes(), f"the thermal data of {name}", _RASTERS)
    at, entries = 128, b""  # behind the head and two entries; flyr counts the head as two more
    for kind, record in ((_RAW_RECORD, raw), (_CAMERA_RECORD, info)):
        entries += struct.pack(">HHIIII12x", kind, 1, 100, 1, at, len(record))
        at += len(record)
    content = struct.pack(">4s16xIII32x", b"FFF\0", 100, 64, 4) + entries + raw + info
    parts = [content[at : at + _SEGMENT_BYTES] for at in range(0, len(content), _SEGMENT_BYTES)]
    if len(parts) > 256:
        raise FrameError(f"{name} is a JPEG of FLIR with too much thermal data; {_EXPORT}")
    segments = [
        struct.pack(">BBH", 0xFF, _APP1, 10 + len(part))
        + _FLIR
        + bytes([1, n, len(parts) - 1])
        + part
        for n, part in enumerate(parts)
    ]
    image = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    return image[:2] + b"".join(segments) + image[2:]
