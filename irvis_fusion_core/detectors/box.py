"""The bounding box that detectors find and annotations give."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A bounding box in pixels; may reach beyond the image."""

    left: float
    top: float
    width: float
    height: float
