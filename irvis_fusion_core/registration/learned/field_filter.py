"""Which displacements are used: smoothed by confidence, and only where edges agree better."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.registration.alignment_evidence import orientation

# Confidence below which a displacement is not used, and from which it is used whole.
_NO_TRUST, _FULL_TRUST = 0.2, 0.35
# How far trusted displacements reach into areas without, standard deviation in cells; and the
# share of trust around from which they do.
_SPREAD_CELLS, _LEAST = 4.0, 0.03
# Areas over which a displacement has to be more than an error, standard deviations in cells.
_WIDE_CELLS, _NARROW_CELLS = 6.0, 1.5
# A field that differs by this, in least shifts, is another one: the memory is left behind.
_OTHER_FIELD = 2.0


class FieldReport(NamedTuple):
    """What a field says. Displacements are in pixels of the image, of the confident cells."""

    median_px: float
    p95_px: float
    confident: float  # share of the cells


class FieldFilter:
    """Smooths fields over time. Use it from one thread.

    Args:
        smoothing_s: Time constant of the memory; 0 takes every field alone.
        least_px: Displacements below this over a wide area are none, and from twice this on used
            whole (`_worth`): images that are registered stay as they are.
    """

    def __init__(self, smoothing_s: float, least_px: float) -> None:
        self._smoothing_s, self._least_px = smoothing_s, least_px
        self._field: np.ndarray | None = None
        self._weight = np.zeros(0, np.float32)
        self._newest_s = 0.0
        self.report = FieldReport(0.0, 0.0, 0.0)

    def add(self, found: np.ndarray, now_s: float) -> np.ndarray:
        """Return the field to use, float32 2 x rows x columns, pixels.

        Args:
            found: float32 3 x rows x columns: displacement x and y, and confidence.
            now_s: Time of the frame, seconds. A jump forgets what was before.
        """
        field, trust = found[:2], found[2]
        elapsed_s = now_s - self._newest_s
        self._newest_s = now_s
        remembers = self._field is not None and self._field.shape == field.shape
        if self._smoothing_s > 0.0 and remembers and 0.0 <= elapsed_s < 10.0 * self._smoothing_s:
            assert self._field is not None
            kept = self._weight * np.float32(math.exp(-elapsed_s / self._smoothing_s))
            change = np.hypot(*(field - self._field)) / (_OTHER_FIELD * max(self._least_px, 0.5))
            kept *= np.exp(-np.square(change * trust))
            weight = kept + trust
            share = trust / np.maximum(weight, 1e-6)
            self._field = self._field + share * (field - self._field)
            confidence = (kept * np.minimum(self._weight, 1.0) + trust * trust) / np.maximum(
                weight, 1e-6
            )
            self._weight = weight
        else:
            self._field, self._weight, confidence = field.copy(), trust.copy(), trust
        return self._gated(confidence)

    def _gated(self, confidence: np.ndarray) -> np.ndarray:
        """Return the field where it is trusted and no mere noise, smooth between."""
        assert self._field is not None
        trust = _ramp(confidence, _NO_TRUST, _FULL_TRUST)
        field = _filled(self._field, trust)
        far = np.hypot(*field)
        confident = far[confidence >= _NO_TRUST]
        share = confident.size / far.size
        percentiles = np.percentile(confident, (50, 95)) if confident.size else (0.0, 0.0)
        self.report = FieldReport(float(percentiles[0]), float(percentiles[1]), share)
        if self._least_px > 0.0:
            field = field * _worth(field, self._least_px)
        return field


def _filled(field: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Return the field where it is trusted, what is trusted nearby elsewhere, zero far from it.

    So the edge between a trusted area and a blank one does not tear the image.
    """
    known = cv2.GaussianBlur(trust, (0, 0), _SPREAD_CELLS)
    filled = [
        trust * plane
        + (1.0 - trust) * cv2.GaussianBlur(trust * plane, (0, 0), _SPREAD_CELLS) / (known + _LEAST)
        for plane in field
    ]
    return np.stack(filled)


def _worth(field: np.ndarray, least_px: float) -> np.ndarray:
    """Return 0 where a field is no more than its own error, 1 where it counts whole.

    Errors point everywhere, and their mean over a wide area is small. An area of a few cells has
    to move twice as far.
    """
    parts = []
    for cells, least in ((_WIDE_CELLS, least_px), (_NARROW_CELLS, 2.0 * least_px)):
        mean = [cv2.GaussianBlur(np.ascontiguousarray(p), (0, 0), cells) for p in field]
        parts.append(_ramp(np.hypot(*mean), least, 2.0 * least))
    return np.maximum(*parts)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below `low`, 1 above `high`, float32."""
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


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
