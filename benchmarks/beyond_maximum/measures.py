"""Measures of a fused image within a mask: how much it keeps of one source, and its noise.

Planes are uint8 HxW of one size, masks bool HxW. Where a mask is empty, or the source has
nothing that could be kept, the answer is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from benchmarks.beyond_maximum.masks import WarmObject, gradient, local_moments
from irvis_fusion_core.metrics import fidelity

# Immerkaer, "Fast noise variance estimation", CVIU 1996: blind to constant and linear grey.
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# An object counts where this many of its pixels, and of its ring's, lie within the mask.
_LEAST_PX = 30


def edges_kept(fused: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the source's gradient that the fused image shows, 0..1.

    The fused gradient's part along the source's, clipped to 0..1, weighted by the source's
    strength. Other edges on top cost nothing here; the `correlation` sees them.
    """
    f, s = _masked_gradients(fused, source, mask)
    strength = (s * s).sum(axis=0)
    shown = np.clip((f * s).sum(axis=0) / np.maximum(strength, 1e-12), 0.0, 1.0)
    weight = np.sqrt(strength)
    return ratio((shown * weight).sum(), weight.sum())


def correlation(fused: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """Return the correlation of both gradient fields, -1..1; edges of other origin lower it."""
    f, s = _masked_gradients(fused, source, mask)
    if (s * s).sum() > 0 and not f.any():
        return 0.0  # flat, where there was something to show
    return ratio((f * s).sum(), np.sqrt((f * f).sum() * (s * s).sum()))


def edge_quality(fused: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """Return the edge strength and orientation kept, 0..1, as in Qabf (Xydeas, Petrovic)."""
    edges_f, edges_s = (fidelity.edges(plane.astype(np.float64)) for plane in (fused, source))
    weight = edges_s[0] * mask
    return ratio((fidelity.edge_kept(edges_s, edges_f) * weight).sum(), weight.sum())


def texture_ratio(fused: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """Return local standard deviation over the source's; 1 keeps the contrast."""
    return ratio(*(local_moments(plane)[1][mask].sum() for plane in (fused, source)))


def contrast(
    plane: np.ndarray, objects: Iterable[WarmObject], mask: np.ndarray
) -> tuple[float, int]:
    """Return the grey level of objects above their rings within the mask, and their number."""
    levels = []
    for each in objects:
        inside, ring = each.inside & mask, each.ring & mask
        if min(inside.sum(), ring.sum()) >= _LEAST_PX:
            levels.append(float(plane[inside].mean() - plane[ring].mean()))
    return (float(np.mean(levels)) if levels else float("nan")), len(levels)


def noise_sigma(plane: np.ndarray, mask: np.ndarray) -> float:
    """Return the standard deviation of pixel noise inside the mask, grey levels."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    response = np.abs(cv2.filter2D(plane.astype(np.float32), -1, _IMMERKAER))
    return ratio(np.sqrt(np.pi / 2.0) / 6.0 * response[inner].sum(), inner.sum())


def noise_gain(change: np.ndarray, noise: np.ndarray, mask: np.ndarray) -> float:
    """Return the spread of a fused image's change over that of the noise added to a source.

    Both are signed differences HxW, after rounding and clipping.
    """
    return ratio(change[mask].std(), noise[mask].std()) if mask.any() else float("nan")


def _masked_gradients(
    fused: np.ndarray, source: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the x and y gradients of both, float64 [2, N], where the mask is."""
    f, s = (np.stack([g[mask] for g in gradient(plane)]) for plane in (fused, source))
    return f.astype(np.float64), s.astype(np.float64)


def ratio(part: float, whole: float) -> float:
    """Return part of the whole; NaN where there is no whole."""
    return float(part / whole) if whole > 0 else float("nan")
