"""8-bit luminance of images of one size, which every metric starts from."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError


def luminance(image: np.ndarray) -> np.ndarray:
    """Return uint8 HxW of uint8 HxW, HxWx1 or HxWx3 RGB: BT.601 full range, rounded."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise FrameError(
            f"metrics need uint8 images, found {found}; round and clip to 0..255 first, "
            "because unrounded values inflate MI and EN"
        )
    depth = image.shape[2:]
    if image.ndim < 2 or min(image.shape[:2]) < 8 or depth not in ((), (1,), (3,)):
        raise FrameError(
            f"metrics need HxW, HxWx1 or HxWx3 images of at least 8x8, found {image.shape}"
        )
    if depth == (3,):
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return image.reshape(image.shape[:2])


def planes(*images: np.ndarray) -> list[np.ndarray]:
    """Return the luminance of each image as float64 HxW, all of one size."""
    grey = [luminance(image) for image in images]
    if len({plane.shape for plane in grey}) != 1:
        sizes = ", ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in grey)
        raise FrameError(
            f"metrics need images of one size, found {sizes}; register IR to the visible image"
        )
    return [plane.astype(np.float64) for plane in grey]
