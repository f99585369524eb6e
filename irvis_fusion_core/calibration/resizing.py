"""Scaled images, and where their pixels come from. Pixel (0, 0) is the centre of the first."""

from __future__ import annotations

import cv2
import numpy as np


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """The image scaled; sides are whole numbers of pixels, 8 at least."""
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def scaling(new: tuple[int, ...], old: tuple[int, ...]) -> np.ndarray:
    """3x3 from the pixels of an image of shape `old` to those of the same image of `new`."""
    down, across = new[0] / float(old[0]), new[1] / float(old[1])
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])
