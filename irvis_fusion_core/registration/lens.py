"""Lens distortion between rays and the points they reach, and how far its polynomial holds.

Rays and points are Nx2, in the plane one unit before the camera. A calibrated polynomial turns
back somewhere outside the calibrated field: beyond that radius it shows the image again, mirrored.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.polynomial import polynomial

# Rays at larger angles to the axis have no place in the plane before the camera.
_LARGEST_ANGLE = np.deg2rad(89.0)
# The field ends a little before the turn, where a pixel no longer says which ray it was.
_BEFORE_THE_TURN = 0.995
_TABLE = 4096
# Tangential terms, prism and tilt are small: each step leaves about a tenth of the error.
_STEPS = 8


class Lens(NamedTuple):
    """Coefficients in OpenCV's order; `fisheye` is the equidistant model of `cv2.fisheye`."""

    coefficients: np.ndarray
    fisheye: bool = False

    def bent(self, rays: np.ndarray) -> np.ndarray:
        """Return where rays arrive, with distortion."""
        if self.fisheye:
            radius = np.linalg.norm(rays, axis=1)
            angle = np.arctan(radius)
            growth = polynomial.polyval(angle**2, np.append(1.0, self.coefficients))
            return rays * (angle * growth / np.maximum(radius, 1e-12))[:, None]
        if not len(rays):
            return np.zeros((0, 2))
        points = np.column_stack([rays, np.ones(len(rays))])
        none, unit = np.zeros(3), np.eye(3)
        return cv2.projectPoints(points, none, none, unit, self.coefficients)[0][:, 0]

    def straight(self, points: np.ndarray) -> np.ndarray:
        """Return the rays that arrive at points; NaN where none does."""
        angles = np.linspace(0.0, np.arctan(self.widest()), _TABLE)
        radii = np.tan(angles)
        arrive = np.linalg.norm(self._radial().bent(np.column_stack([radii, 0 * radii])), axis=1)
        distance = np.linalg.norm(points, axis=1)
        reached = distance <= arrive[-1]
        # A table of angles: their tangents are too uneven to interpolate.
        length = np.tan(np.interp(distance, arrive, angles))
        rays = points * (length / np.maximum(distance, 1e-12))[:, None]
        if self._radial() is not self:
            kept = rays[reached]
            for _ in range(_STEPS):
                kept = kept + points[reached] - self.bent(kept)
            rays[reached] = kept
        rays[~reached] = np.nan
        return rays

    def widest(self) -> float:
        """Return the radius of the rays up to which the image grows with the radius."""
        k = self.coefficients
        if self.fisheye:
            # d/dt of t (1 + k1 t^2 + ...), by u = t^2.
            rising = np.append(1.0, k) * np.arange(1, 2 * k.size + 2, 2)
            return float(
                np.tan(min(_LARGEST_ANGLE, _BEFORE_THE_TURN * np.sqrt(_least_root(rising))))
            )
        above = np.array([1.0, *k[:2], *k[4:5]])
        below = np.append(1.0, k[5:8])
        u = [0.0, 1.0]
        # d/dr of r a(u) / b(u) with u = r^2, times b^2.
        first = polynomial.polyadd(above, 2.0 * polynomial.polymul(u, polynomial.polyder(above)))
        second = 2.0 * polynomial.polymul(u, polynomial.polymul(above, polynomial.polyder(below)))
        rising = polynomial.polysub(polynomial.polymul(first, below), second)
        turn = min(_least_root(rising), _least_root(below))
        return float(min(np.tan(_LARGEST_ANGLE), _BEFORE_THE_TURN * np.sqrt(turn)))

    def _radial(self) -> Lens:
        """Return the lens without tangential terms, prism and tilt; itself where it has none."""
        k = self.coefficients
        if self.fisheye or not (k[2:4].any() or k[8:].any()):
            return self
        radial = k[:8].copy()
        radial[2:4] = 0.0
        return Lens(radial)


def _least_root(coefficients: np.ndarray) -> float:
    """Return the least positive root of a polynomial, lowest power first; infinity without one."""
    # Tiny leading coefficients would overflow, and their roots lie beyond every ray.
    trimmed = np.trim_zeros(np.where(np.abs(coefficients) < 1e-12, 0.0, coefficients), "b")
    roots = polynomial.polyroots(trimmed) if trimmed.size > 1 else np.zeros(0)
    real = roots[np.abs(roots.imag) <= 1e-7 * np.abs(roots)].real
    positive = real[real > 0.0]
    return float(positive.min()) if positive.size else np.inf
