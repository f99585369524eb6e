"""The bounding box that detectors find and annotations give, and its overlap."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A bounding box in pixels; may reach beyond the image."""

    left: float
    top: float
    width: float
    height: float


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)
