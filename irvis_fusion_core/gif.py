"""Writes an animated GIF (GIF89a) with numpy and OpenCV alone: for reports that anybody opens.

One palette of 256 colours for all frames, found by k-means on a sample of their pixels.
"""

from __future__ import annotations

import struct
from typing import Dict, List, Sequence

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError

_COLOURS = 256
_SAMPLED_PIXELS = 20_000
_MOST_CODE_BITS = 12
# Colours are looked up by their upper 5 bits a channel.
_LOOKUP_BITS = 5


def encode_gif(frames: Sequence[np.ndarray], period_s: float = 0.1) -> bytes:
    """An animation that repeats for ever. The same frames give the same bytes.

    Args:
        frames: uint8 RGB [height, width, 3], one size.
        period_s: time that each is shown; viewers slow down what is below 0.02.

    Raises:
        FrameError: no frames, or of several sizes.
    """
    if not len(frames) or len({frame.shape for frame in frames}) != 1:
        raise FrameError(
            "expected frames of one size for an animation, found "
            f"{sorted({frame.shape for frame in frames})}"
        )
    height, width = frames[0].shape[:2]
    palette = _palette(frames)
    lookup = _lookup(palette)
    out = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF7, 0, 0), palette.tobytes()]
    out.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # repeat for ever
    shift = 8 - _LOOKUP_BITS
    for frame in frames:
        delay = max(int(round(100.0 * period_s)), 2)
        out.append(b"\x21\xf9\x04" + struct.pack("<BHBB", 0, delay, 0, 0))
        out.append(b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0))
        level = (frame >> shift).astype(np.int32)
        index = (level[..., 0] << 2 * _LOOKUP_BITS) | (level[..., 1] << _LOOKUP_BITS)
        indices = lookup[index | level[..., 2]]
        out.append(b"\x08" + _in_blocks(compress(indices.tobytes())))
    out.append(b"\x3b")
    return b"".join(out)


def compress(indices: bytes, bits: int = 8) -> bytes:
    """LZW as GIF has it: codes of growing width, least significant bit first."""
    clear, end = 1 << bits, (1 << bits) + 1
    table: Dict[int, int] = {}
    width, following = bits + 1, end + 1
    held, filled = clear, width
    out = bytearray()
    prefix = -1
    for value in indices:
        key = (prefix << bits) | value
        code = value if prefix < 0 else table.get(key)
        if code is not None:
            prefix = code
            continue
        held |= prefix << filled
        filled += width
        if following < 1 << _MOST_CODE_BITS:
            table[key] = following
            if following == 1 << width:
                width += 1
            following += 1
        else:
            held |= clear << filled
            filled += width
            table.clear()
            width, following = bits + 1, end + 1
        while filled >= 8:
            out.append(held & 255)
            held >>= 8
            filled -= 8
        prefix = value
    if prefix >= 0:
        held |= prefix << filled
        filled += width
        if following == 1 << width and width < _MOST_CODE_BITS:
            width += 1  # the decoder has added an entry by now, too
    held |= end << filled
    filled += width
    while filled > 0:
        out.append(held & 255)
        held >>= 8
        filled -= 8
    return bytes(out)


def _in_blocks(data: bytes) -> bytes:
    parts: List[bytes] = []
    for start in range(0, len(data), 255):
        part = data[start : start + 255]
        parts.append(bytes([len(part)]) + part)
    return b"".join(parts) + b"\x00"


def _palette(frames: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 [256, 3]."""
    pixels = np.concatenate(
        [frame.reshape(-1, 3) for frame in frames[:: max(len(frames) // 8, 1)]]
    )
    sample = pixels[:: max(len(pixels) // _SAMPLED_PIXELS, 1)].astype(np.float32)
    distinct = np.unique(sample, axis=0)
    if len(distinct) <= _COLOURS:
        palette = np.zeros((_COLOURS, 3), np.float32)
        palette[: len(distinct)] = distinct
    else:
        cv2.setRNGSeed(0)
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.5)
        _, _, palette = cv2.kmeans(sample, _COLOURS, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    return np.clip(np.rint(palette), 0, 255).astype(np.uint8)


def _lookup(palette: np.ndarray) -> np.ndarray:
    """uint8 [32 * 32 * 32]: the nearest palette entry to each coarse colour."""
    steps = 1 << _LOOKUP_BITS
    centre = (np.arange(steps, dtype=np.float32) + 0.5) * (256 // steps)
    nearest = np.empty((steps, steps * steps), np.uint8)
    colours = palette.astype(np.float32)
    rest = np.stack(np.meshgrid(centre, centre, indexing="ij"), axis=-1).reshape(-1, 2)
    for red in range(steps):  # a plane at a time: 1 MB
        distance = (centre[red] - colours[:, 0]) ** 2 + (
            (rest[:, :1] - colours[:, 1]) ** 2 + (rest[:, 1:] - colours[:, 2]) ** 2
        )
        nearest[red] = distance.argmin(axis=1)
    return nearest.reshape(-1)
