"""What every metric starts from: 8-bit luminance of pictures of one size."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError


def luminance(picture: np.ndarray) -> np.ndarray:
    """uint8 HxW, HxWx1 or HxWx3 RGB -> uint8 HxW, BT.601 full range, rounded."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        found = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise FrameError(
            f"metrics need uint8 pictures, found {found}; round and clip to 0..255 first, "
            "because unrounded values inflate MI and EN"
        )
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.ndim == 2 and min(picture.shape) >= 8:
        return picture
    if picture.ndim == 3 and picture.shape[2] == 3 and min(picture.shape[:2]) >= 8:
        return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    raise FrameError(
        f"metrics need HxW, HxWx1 or HxWx3 pictures of at least 8x8, found {picture.shape}"
    )


def planes(*pictures: np.ndarray) -> list[np.ndarray]:
    """Luminance of each picture as float64 HxW, all of one size."""
    grey = [luminance(picture) for picture in pictures]
    if len({plane.shape for plane in grey}) != 1:
        raise FrameError(
            "metrics need pictures of one size, found "
            + ", ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in grey)
            + " (width x height); register IR to the visible picture first"
        )
    return [plane.astype(np.float64) for plane in grey]
