"""How an image becomes the input of a detector, and how boxes come back."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Placement(NamedTuple):
    """The place of an image in the network's input: scaled, then moved, in pixels."""

    scale_x: float
    scale_y: float
    left: int
    top: int

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes [n, 4] (left, top, right, bottom of the input) in pixels of the image."""
        scale = (self.scale_x, self.scale_y) * 2
        return (boxes - (self.left, self.top) * 2) / scale


class Preparation(NamedTuple):
    """What a family of detectors expects of its input image.

    Attributes:
        bgr: order of the channels; RGB otherwise.
        mean: subtracted from 0..255, by channel of the input.
        std: then divided by.
        bars: grey level around an image of other proportions.
        placing: "centred", "top left", or "stretched" to the whole input.
    """

    bgr: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    bars: int = 114
    placing: str = "centred"

    def fit(self, image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Placement]:
        """Return uint8 [height, width, 3], the image with its bars, and its place."""
        if self.placing == "stretched":
            place = Placement(width / image.shape[1], height / image.shape[0], 0, 0)
            return cv2.resize(image, (width, height)), place
        scale = min(height / image.shape[0], width / image.shape[1])
        inner = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        if self.placing == "top left":
            left = top = 0
        fitted = np.full((height, width, 3), self.bars, np.uint8)
        fitted[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
        return fitted, Placement(scale, scale, left, top)

    def tensor(self, fitted: np.ndarray) -> np.ndarray:
        """Return float32 [1, 3, height, width] of a fitted RGB image."""
        ordered = fitted[..., ::-1] if self.bgr else fitted
        mean, std = (np.array(each, np.float32) for each in (self.mean, self.std))
        levels = (ordered.astype(np.float32) - mean) / std
        return np.ascontiguousarray(levels.transpose(2, 0, 1)[None], np.float32)
