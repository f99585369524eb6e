"""Boxes, detections, and their comparison with annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np

PERSON = "person"
_PEOPLE = {"people", "pedestrian", "pedestrians", "persons", "human", "walker"}


class Box(NamedTuple):
    """A bounding box in pixels; may reach beyond the image."""

    left: float
    top: float
    width: float
    height: float


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


class Detection(NamedTuple):
    """A box in pixels, a score (higher is surer), and the class's name."""

    box: Box
    score: float
    label: str


class Truth(NamedTuple):
    """An annotated object: a box in pixels, and the class's name."""

    box: Box
    label: str


def normal_label(name: str) -> str:
    """Return the name in lower case; the data sets' words for people become "person"."""
    name = " ".join(name.strip().lower().split())
    return PERSON if name in _PEOPLE else name


def count_matches(
    found: Sequence[Detection], truth: Sequence[Truth], min_overlap: float = 0.5
) -> int:
    """Count true detections: each takes the free object of its class that it covers best.

    Surer detections choose first, as in COCO and VOC; `min_overlap` is over the union.
    """
    free = list(truth)
    hits = 0
    for detection in sorted(found, key=lambda d: -d.score):
        places = [i for i, thing in enumerate(free) if thing.label == detection.label]
        covered = [(overlap(detection.box, free[i].box), i) for i in places]
        best, place = max(covered, default=(-1.0, 0))
        if best >= min_overlap:
            del free[place]
            hits += 1
    return hits


@dataclass
class Tally:
    """Counts detections over many images, and true ones where there are annotations."""

    min_overlap: float = 0.5
    images: int = 0
    found: int = 0
    annotated_images: int = 0
    true: int = 0
    false: int = 0
    missed: int = 0

    def add(self, found: Sequence[Detection], truth: Sequence[Truth] | None = None) -> None:
        """Count one image; `truth` is None where it is not annotated."""
        self.images += 1
        self.found += len(found)
        if truth is None:
            return
        hits = count_matches(found, truth, self.min_overlap)
        self.annotated_images += 1
        self.true += hits
        self.false += len(found) - hits
        self.missed += len(truth) - hits

    @property
    def precision(self) -> float | None:
        """Share of true detections; None without detections in annotated images."""
        return self.true / (self.true + self.false) if self.true + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of the annotated objects that were found; None without objects."""
        return self.true / (self.true + self.missed) if self.true + self.missed else None

    def summary(self) -> dict[str, float | None]:
        """Return all counts and shares by name."""
        counts = asdict(self)
        del counts["min_overlap"]
        counts["found_per_image"] = self.found / self.images if self.images else None
        return {**counts, "precision": self.precision, "recall": self.recall}


def suppress_overlaps(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, most_overlap: float = 0.45
) -> list[int]:
    """Return the indices to keep, surest first: of overlapping boxes of a class the surest.

    Boxes, float [n, 4] as left, top, right, bottom, with a score of 0 go too.
    """
    if not len(boxes):
        return []
    # Classes side by side do not overlap: OpenCV's own form by class is too new for robots.
    classes = np.unique(labels, return_inverse=True)[1]
    shift = (np.ptp(boxes) + 1.0) * classes[:, np.newaxis]
    corners = boxes[:, :2] + shift
    shifted = np.hstack([corners, boxes[:, 2:] + shift - corners])
    kept = cv2.dnn.NMSBoxes(shifted.tolist(), scores.tolist(), 0.0, most_overlap)
    return [int(index) for index in np.ravel(kept)]
