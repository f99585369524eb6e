"""Metrics for edges in the wrong place, and for brightness that pumps over time.

Images are as in `metrics`: uint8, HxW or HxWx1 grey or HxWx3 RGB, all of one size.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.metrics.planes import planes

# For `alignment`, grey levels a pixel: gradients of sensor noise stay below both.
_GRADIENT_FLOOR = 2.0
_EDGE_NOISE = 4.0


def alignment(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> dict[str, float]:
    """Measure whether the edges of the fused image lie where those of the sources do.

    * `ir`, `vis`: agreement with that source, 0..1: squared cosine between the gradients,
      weighted by the source's gradient strength (normalised gradient fields, Haber and
      Modersitzki, MICCAI 2006). Contrast and sign of an edge do not matter, its place does.
    * `ghost`: share of the fused gradient that neither source explains, 0..1. To measure doubled
      edges, pass registered sources, not the shifted one that was fused.
    """
    f, a, b = (derivatives(plane, 1.0) for plane in planes(fused, ir, vis))
    agreement_ir, agreement_vis = _gradient_agreement(f, a), _gradient_agreement(f, b)
    strength_f = np.hypot(*f)
    unexplained = strength_f * (1.0 - np.maximum(agreement_ir, agreement_vis))
    # Below the noise floor agreement means nothing in either direction.
    strong = strength_f > _EDGE_NOISE
    return {
        "ir": _weighted_mean(agreement_ir, np.hypot(*a)),
        "vis": _weighted_mean(agreement_vis, np.hypot(*b)),
        "ghost": _weighted_mean(unexplained / np.maximum(strength_f, 1e-12), strength_f * strong),
    }


def derivatives(plane: np.ndarray, sigma_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives at a scale (Gaussian, then Sobel), grey levels per pixel."""
    smooth = cv2.GaussianBlur(plane, (0, 0), sigma_px)
    x, y = (cv2.Sobel(smooth, -1, *order, ksize=3, scale=0.125) for order in ((1, 0), (0, 1)))
    return x, y


def _gradient_agreement(
    f: tuple[np.ndarray, np.ndarray], s: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    product = f[0] * s[0] + f[1] * s[1]
    floor = _GRADIENT_FLOOR**2
    return product**2 / ((f[0] ** 2 + f[1] ** 2 + floor) * (s[0] ** 2 + s[1] ** 2 + floor))


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 0 else 0.0


class FlickerMeter:
    """Measures `flicker` frame by frame, for videos that are not held in memory."""

    def __init__(self) -> None:
        self._before: list[np.ndarray] | None = None

    def reset(self) -> None:
        """Forget the last frame: after a gap, or where a bag loops."""
        self._before = None

    def add(self, fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float | None:
        """Return the excess over the frame before, grey levels; None for the first frame.

        Raises:
            FrameError: the size changes, or the three images differ in size.
        """
        now = [_block_means(plane) for plane in planes(fused, ir, vis)]
        before, self._before = self._before, now
        if before is None:
            return None
        if now[0].shape != before[0].shape:
            raise FrameError("flicker needs one image size throughout the sequence")
        f, a, b = (np.abs(n - o) for n, o in zip(now, before))
        return float(np.mean(np.maximum(f - np.maximum(a, b), 0.0)))


def flicker(
    fused_frames: Sequence[np.ndarray],
    ir_frames: Sequence[np.ndarray],
    vis_frames: Sequence[np.ndarray],
) -> float:
    """Return the change of the fused video that neither source shows, grey levels per frame.

    Mean over pixels and consecutive frames of |dF| beyond max(|dIR|, |dVIS|), where d is the
    change between frames after averaging blocks of 8x8 pixels: sensor noise averages out, pumping
    brightness does not. Each source alone scores 0, their mean only rounding.
    """
    videos = (fused_frames, ir_frames, vis_frames)
    lengths = [len(frames) for frames in videos]
    if len(set(lengths)) != 1 or lengths[0] < 2:
        raise FrameError(
            f"flicker needs videos of one length, at least two frames, found lengths {lengths}"
        )
    meter = FlickerMeter()
    excess = [meter.add(*frames) for frames in zip(*videos)]
    return float(np.mean([value for value in excess if value is not None]))


def _block_means(plane: np.ndarray, size: int = 8) -> np.ndarray:
    rows, columns = plane.shape[0] // size, plane.shape[1] // size
    whole = plane[: rows * size, : columns * size]
    return whole.reshape(rows, size, columns, size).mean(axis=(1, 3))
