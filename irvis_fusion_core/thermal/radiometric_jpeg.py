"""JPEG files of thermal cameras that carry the sensor's raster besides a coloured image."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.file_formats.image_bytes import declared_size, jpeg_segments
from irvis_fusion_core.optional_packages import pip_advice

_APP1, _APP3, _APP4 = 0xE1, 0xE3, 0xE4
_DJI_PARAMETERS = b"\xaa\x55"
_DJI_SIZES = ((512, 640), (1024, 1280), (256, 336), (120, 160))
_FLIR = b"FLIR\0"
_RAW_RECORD = 1
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
    flir = [c[8:] for marker, c in segments if marker == _APP1 and c.startswith(_FLIR)]
    if flir:
        counts = _little_endian_counts(b"".join(flir))
        return _flir_kelvin(data, name) if counts is None else counts
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


def _little_endian_counts(records: bytes) -> np.ndarray | None:
    """Return the counts of a FLIR Tau core in a drone, such as the XT2; None for other files.

    Its records are little-endian, which readers of FLIR files do not expect.
    """
    if len(records) < 64 or not records.startswith(b"FFF\0"):
        return None
    version, index, count = struct.unpack_from("<III", records, 20)
    if version >> 16:  # big-endian
        return None
    for entry in range(index, min(index + 32 * count, len(records) - 31), 32):
        kind, _, _, _, at, length = struct.unpack_from("<HHIIII", records, entry)
        if kind != _RAW_RECORD or at + max(length, 32) > len(records):
            continue
        _, width, height = struct.unpack_from("<HHH", records, at)
        if length == 32 + 2 * width * height:
            pixels = np.frombuffer(records, "<u2", width * height, at + 32)
            return pixels.reshape(height, width).astype(np.uint16)
    return None


def _flir_kelvin(data: bytes, name: str) -> np.ndarray:
    try:
        import flyr  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise FrameError(
            f"{name} is a radiometric JPEG of FLIR, whose colours are no temperatures; to read "
            f"its temperatures install flyr: {pip_advice('flyr')}, or {_EXPORT}"
        ) from error
    try:
        thermogram: Any = flyr.unpack(io.BytesIO(data))
        return np.asarray(thermogram.kelvin, np.float32)
    except (KeyError, ValueError, IndexError, OSError, struct.error, TypeError) as error:
        raise FrameError(
            f"{name} is a JPEG of FLIR whose thermal data flyr cannot read ({error!r}); {_EXPORT}"
        ) from error
