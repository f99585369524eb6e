"""Headlamp glare, rendered onto real visible images in front of something warm.

Light adds up in the camera before its gamma curve: the image is taken back to linear light, the
lamp's disc, halo and veil are added, and what exceeds white is clipped, as a sensor does.
"""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from benchmarks.beyond_maximum.masks import saturated_areas, warm_objects

GAMMA = 2.2
# In units of white: the disc dazzles, its halo still saturates, the veil only brightens. The
# radii are in units of the lamp's own. (Scatter in the eye and in lenses falls off about so.)
DISC, HALO, VEIL = 4.0, 1.5, 0.15
HALO_RADIUS, VEIL_RADIUS = 1.5, 4.0
TINT = np.array((1.0, 0.97, 0.9), np.float32)
RADIUS = (0.05, 0.09)  # of the image's height
OFFSET = 0.5  # how far from the warm object the lamp may stand, in its own radii


def render(vis: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Return the uint8 RGB image with a lamp in it whose disc has this centre and radius."""
    rows, columns = np.indices(vis.shape[:2], np.float32)
    distance = np.hypot(columns - x, rows - y) / radius
    light = (
        DISC * np.exp(-(distance**4))
        + HALO * np.exp(-((distance / HALO_RADIUS) ** 2))
        + VEIL / (1.0 + (distance / VEIL_RADIUS) ** 2)
    )
    linear = (vis.astype(np.float32) / 255.0) ** GAMMA + light[..., None] * TINT
    return np.rint(255.0 * np.clip(linear, 0.0, 1.0) ** (1.0 / GAMMA)).astype(np.uint8)


def dazzle(name: str, ir: np.ndarray, vis: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the visible image with a lamp before its warmest object, and the area it blew out.

    The name of the pair is the seed: each run renders the same lamp.

    Returns:
        uint8 RGB HxWx3 and bool HxW; None where the IR image has nothing warm.
    """
    objects = warm_objects(ir)
    if not objects:
        return None
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    radius = chance.uniform(*RADIUS) * ir.shape[0]
    rows, columns = np.nonzero(objects[0].inside)
    offset = chance.uniform(-OFFSET, OFFSET, 2) * radius
    dazzled = render(vis, columns.mean() + offset[0], rows.mean() + offset[1], radius)
    greys = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (vis, dazzled))
    before, after = map(saturated_areas, greys)
    return dazzled, after & ~before
