"""Decides whether a displaced thermal image has fewer double edges than before."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_core.registration.alignment_evidence import orientation

# Gain of the agreement from which a field is used, and below which it is no longer used. Noise,
# other scenes and registered pairs gain less; 11 scenes displaced by 8 pixels gained .04 and more.
_USE, _LEAVE = 0.02, 0.01
_LARGEST_SIDE = 320


class EdgeCheck:
    """Decides frame by frame.

    Args:
        remembers: Whether a field in use stays in use for a smaller gain, so that it does not come
            and go with each frame.

    Attributes:
        gain: Of the last frame: how much more its edges agree, in shares of the most possible.
    """

    def __init__(self, remembers: bool = True) -> None:
        self.gain = 0.0
        self._remembers, self._used = remembers, False

    def __call__(
        self, base: np.ndarray, moved: np.ndarray, vis: np.ndarray, known: np.ndarray | None
    ) -> bool:
        """Return whether `moved` is to be used instead of `base`, uint8 HxW each.

        Args:
            known: uint8 HxW, above 0 where there is thermal data; None: everywhere.
        """
        scale = min(1.0, _LARGEST_SIDE / max(vis.shape))
        size = (max(round(vis.shape[1] * scale), 8), max(round(vis.shape[0] * scale), 8))
        small = [cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (base, moved, vis)]
        if known is not None:
            known = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST)
        seen = orientation(small[2])
        before, after = (_agreement(orientation(x, known), seen) for x in small[:2])
        self.gain = after - before
        self._used = self.gain >= (_LEAVE if self._used and self._remembers else _USE)
        return self._used


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two maps of edge directions, -1..1; 0 where one has none."""
    norm = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float((first * second).sum()) / norm if norm > 0.0 else 0.0
