"""Average precision, recall at a precision, and their bootstrap intervals over images.

AP is the area under the precision envelope over recall, at every point where recall rises (VOC
from 2010 on). Detections match as in COCO, see `detection.match`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irvis_fusion_core.detectors.detection import Detection, Truth, match


class PrecisionRecall:
    """Collects the detections and objects of one class, image after image.

    Args:
        min_overlap: over the union, from which a detection may be true.
    """

    def __init__(self, min_overlap: float = 0.5) -> None:
        self._min_overlap = min_overlap
        self._objects: list[int] = []
        self._images: list[int] = []
        self._scores: list[float] = []
        self._true: list[bool] = []

    @property
    def images(self) -> int:
        return len(self._objects)

    @property
    def objects(self) -> int:
        """Number of annotated objects without ignored ones."""
        return sum(self._objects)

    def add(self, found: Sequence[Detection], truth: Sequence[Truth]) -> None:
        """Add one image: detections and objects of this class alone."""
        for each, verdict in zip(found, match(found, truth, self._min_overlap)):
            if verdict is not None:
                self._images.append(len(self._objects))
                self._scores.append(each.score)
                self._true.append(verdict)
        self._objects.append(sum(not thing.ignored for thing in truth))

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return AP, 0..1, of each resample; NaN where it has no objects.

        Args:
            weights: how often each image counts [resamples, images], see `resamples`; by default
                one resample with every image once.
        """
        gained, precision, recall = self._curves(weights)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        return np.where(np.isnan(recall[:, -1]), np.nan, (gained * envelope).sum(axis=1))

    def recall_at(self, least: float = 0.9, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the highest recall with a precision of `least` or more, of each resample."""
        _, precision, recall = self._curves(weights)
        best = np.where(precision >= least, recall, 0.0).max(axis=1)
        return np.where(np.isnan(recall[:, -1]), np.nan, best)

    def _curves(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gain of recall, precision and recall [resamples, detections + 1], surest first.

        The first column is the empty start.
        """
        if weights is None:
            weights = np.ones((1, len(self._objects)))
        scores = np.array(self._scores)
        order = np.argsort(-scores, kind="stable")
        counted = weights[:, np.array(self._images, int)[order]].astype(np.float64)
        true = np.array(self._true, bool)[order]
        start = np.zeros((len(weights), 1))
        gained = np.hstack([start, counted * true])
        total = np.hstack([start, counted]).cumsum(axis=1)
        hits = gained.cumsum(axis=1)
        if scores.size:
            # Detections of one score come together: only the last of them is an operating point.
            last = np.append(np.diff(scores[order]) != 0, True)
            places = np.append(0, 1 + np.flatnonzero(last))
            total, hits = total[:, places], hits[:, places]
            gained = np.diff(hits, axis=1, prepend=0.0)
        objects = (weights @ np.array(self._objects, np.float64))[:, np.newaxis]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(total > 0, hits / total, 0.0)
            return gained / objects, precision, np.where(objects > 0, hits / objects, np.nan)


def resamples(images: int, count: int = 1000, seed: int = 0) -> np.ndarray:
    """Return how often each image is drawn [count, images], with replacement.

    Differences of two rows are paired if both take the same resamples.
    """
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1.0 / images), count)


def interval(values: np.ndarray, share: float = 0.95) -> tuple[float, float]:
    """Return the percentiles that hold the middle `share` of the values; NaN is left out."""
    there = values[~np.isnan(values)]
    if not there.size:
        return float("nan"), float("nan")
    low, high = np.quantile(there, ((1.0 - share) / 2.0, (1.0 + share) / 2.0))
    return float(low), float(high)
