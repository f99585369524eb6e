"""Edge orientations, which an infrared and a visible image of one scene have in common.

Contrast may be reversed, so orientations are taken modulo 180 degrees. Strengths are relative to
those of the surroundings, so that faint edges on an even ground count.
"""

from __future__ import annotations

import cv2
import numpy as np

# Surroundings that an edge's strength is compared with, as a share of the image's larger side.
_SURROUNDINGS = 0.06
# Gradients below this multiple of the image's median one are noise rather than edges.
_NOISE_FLOOR = 1.0


def grey(image: np.ndarray) -> np.ndarray:
    """Return float32 HxW of HxW or HxWx3 (BGR or RGB: the green channel dominates both)."""
    if image.ndim == 3:
        image = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_BGR2GRAY)
    return image.astype(np.float32)


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """Return the image scaled; its sides are whole numbers of pixels, at least 8."""
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def double_angle_field(
    image: np.ndarray, blur_px: float = 1.0, mask: np.ndarray | None = None
) -> np.ndarray:
    """Return complex64 HxW: strength in 0..1 of the edge at a pixel, at twice its angle.

    Twice the angle makes an edge equal to itself with reversed contrast, and opposite to one at
    right angles. `mask` (bool HxW) is where the image is known; 0 elsewhere and at its border.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), blur_px)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    magnitude = np.hypot(gx, gy)
    known = np.ones(image.shape, np.uint8) if mask is None else mask.astype(np.uint8)
    side = 2 * int(np.ceil(2 * blur_px)) + 3
    known = cv2.copyMakeBorder(known, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    known = cv2.erode(known, np.ones((side, side), np.uint8))[1:-1, 1:-1]
    magnitude *= known
    if not known.any() or not magnitude.any():
        return np.zeros(image.shape, np.complex64)
    side = 2 * int(_SURROUNDINGS * max(image.shape) / 2) + 1
    weight = cv2.blur(known.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    energy = cv2.blur(magnitude * magnitude, (side, side), borderType=cv2.BORDER_CONSTANT)
    # Box sums in float32 come out slightly below zero where there is nothing.
    around = np.sqrt(np.maximum(energy, 0.0) / np.maximum(weight, 1e-3))
    floor = _NOISE_FLOOR * float(np.median(magnitude[known > 0])) + 1e-3
    strength = np.minimum(magnitude / (around + floor), 2.0) / 2.0
    unit = np.maximum(magnitude, 1e-6)
    cosine, sine = gx / unit, gy / unit
    field = np.empty(image.shape, np.complex64)
    field.real = strength * (cosine * cosine - sine * sine)
    field.imag = strength * (2.0 * cosine * sine)
    return field
