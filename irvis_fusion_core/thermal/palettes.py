"""False colours of thermal cameras, recognised and turned back into grey.

The cameras' own palettes differ a little from these; each colour becomes the nearest one.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import expect_one_of

_MAPS = {
    "rainbow": cv2.COLORMAP_RAINBOW,
    "jet": cv2.COLORMAP_JET,
    "hot": cv2.COLORMAP_HOT,
    "inferno": cv2.COLORMAP_INFERNO,
    "plasma": cv2.COLORMAP_PLASMA,
    "turbo": cv2.COLORMAP_TURBO,
}
# Iron ("ironbow", "fusion") in RGB, at equal distances from cold to hot.
_IRON = (
    (0, 0, 0), (32, 0, 140), (120, 0, 160), (190, 15, 150), (225, 60, 60),
    (240, 110, 10), (250, 160, 10), (255, 215, 60), (255, 255, 255),
)  # fmt: skip
PALETTES = ("auto", "grey", "iron", *_MAPS)

# Largest mean spread of the channels of grey images: JPEG tints greys by this much.
_GREY_SPREAD = 8.0
# Largest mean distance of a false-colour image's colours from its palette, 0..441. Photographs
# lie farther from every palette.
_PALETTE_DISTANCE = 22.0
_SAMPLES = 400
_LEVELS = 32  # of each channel in the table that inverts a palette


class FalseColour(NamedTuple):
    """A colour image as grey.

    Attributes:
        grey: uint8 HxW.
        palette: a name of `PALETTES`, or "unknown", for which `grey` is the luma.
    """

    grey: np.ndarray
    palette: str


def grey_of(bgr: np.ndarray, palette: str = "auto") -> FalseColour:
    """Return uint8 HxW of a thermal image in uint8 BGR.

    Args:
        palette: how the camera coloured it; "auto" recognises it in each image, "grey" takes the
            luma.

    Raises:
        ConfigurationError: an unknown palette.
    """
    expect_one_of("thermal palette", palette, PALETTES)
    found = _recognised(bgr) if palette == "auto" else palette
    if found in ("grey", "unknown"):
        return FalseColour(cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2GRAY), found)
    blue, green, red = cv2.split(bgr >> 3)
    return FalseColour(_inverse(found)[blue, green, red], found)


def _recognised(bgr: np.ndarray) -> str:
    step = max(1, round((bgr.shape[0] * bgr.shape[1] / _SAMPLES) ** 0.5))
    sample = bgr[step // 2 :: step, step // 2 :: step].reshape(-1, 3).astype(np.float32)
    if np.ptp(sample, axis=1).mean() <= _GREY_SPREAD:
        return "grey"
    distances = {
        name: float(np.sqrt(_squared_distances(sample, name).min(axis=1)).mean())
        for name in PALETTES[2:]
    }
    best = min(distances, key=lambda name: distances[name])
    return best if distances[best] <= _PALETTE_DISTANCE else "unknown"


def _squared_distances(colours: np.ndarray, palette: str) -> np.ndarray:
    table = _table(palette)
    squares = (colours**2).sum(axis=1)[:, np.newaxis] + (table**2).sum(axis=1)
    return np.maximum(squares - 2.0 * colours @ table.T, 0.0)


@functools.lru_cache(maxsize=None)
def _table(palette: str) -> np.ndarray:
    """Return the colours from cold to hot, float32 256x3 BGR."""
    levels = np.arange(256, dtype=np.uint8)
    if palette == "iron":
        points = np.linspace(0, 255, len(_IRON))
        channels = [np.interp(levels, points, [rgb[c] for rgb in _IRON]) for c in (2, 1, 0)]
        return np.stack(channels, axis=1).astype(np.float32)
    # OpenCV 5 takes a vector for a row, 4 for a column.
    table = cv2.applyColorMap(levels[:, np.newaxis], _MAPS[palette])[:, 0].astype(np.float32)
    return table[::-1] if palette == "rainbow" else table  # OpenCV's begins with red


@functools.lru_cache(maxsize=2)
def _inverse(palette: str) -> np.ndarray:
    """Return the level of each colour, uint8 [blue, green, red] of 32 steps."""
    steps = np.arange(_LEVELS, dtype=np.float32) * 8 + 3.5
    plane = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    levels = [
        _squared_distances(np.insert(plane, 0, blue, axis=1), palette).argmin(axis=1)
        for blue in steps
    ]
    return np.array(levels, np.uint8).reshape(_LEVELS, _LEVELS, _LEVELS)
