"""Boxes, detections, and their comparison with annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np


class Box(NamedTuple):
    """A bounding box in pixels; may reach beyond the image."""

    left: float
    top: float
    width: float
    height: float


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    shared = _shared(a, b)
    return shared / (a.width * a.height + b.width * b.height - shared) if shared else 0.0


def _shared(a: Box, b: Box) -> float:
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(width, 0.0) * max(height, 0.0)


class Detection(NamedTuple):
    """A box in pixels, a score (higher is surer), and the class's name."""

    box: Box
    score: float
    label: str


class Truth(NamedTuple):
    """An annotated object: a box in pixels, and the class's name.

    An ignored box (a crowd, or a doubtful object) need not be found, and detections within it
    count neither as true nor as false.
    """

    box: Box
    label: str
    ignored: bool = False


def match(
    found: Sequence[Detection], truth: Sequence[Truth], min_overlap: float = 0.5
) -> list[bool | None]:
    """Return for each detection whether it is true; None where it does not count.

    As in COCO: surer detections choose first; each takes the free object of its class that it
    covers best. A detection that takes none does not count if enough of its own area lies within
    an ignored box of its class; such a box stays free for others.
    """
    free = [thing for thing in truth if not thing.ignored]
    crowds = [thing for thing in truth if thing.ignored]
    verdicts: list[bool | None] = [False] * len(found)
    for number in sorted(range(len(found)), key=lambda n: -found[n].score):
        box, _, label = found[number]
        places = [i for i, thing in enumerate(free) if thing.label == label]
        best, place = max(((overlap(box, free[i].box), i) for i in places), default=(-1.0, 0))
        if best >= min_overlap:
            del free[place]
            verdicts[number] = True
            continue
        within = max((_shared(box, t.box) for t in crowds if t.label == label), default=-1.0)
        if within >= min_overlap * box.width * box.height:
            verdicts[number] = None
    return verdicts


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
        verdicts = match(found, truth, self.min_overlap)
        hits = sum(verdict is True for verdict in verdicts)
        self.annotated_images += 1
        self.true += hits
        self.false += sum(verdict is False for verdict in verdicts)
        self.missed += sum(not thing.ignored for thing in truth) - hits

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


def regroup(
    found: Sequence[Detection], groups: Mapping[str, str], most_overlap: float = 0.5
) -> list[Detection]:
    """Return detections under the names of their groups; classes without a group go.

    One vehicle may be found as a car and as a truck: the surest of overlapping ones stays.
    """
    kept = [d for d in found if d.label in groups]
    named = [d._replace(label=groups[d.label]) for d in kept]
    return kept if kept == named else merge(named, most_overlap)


def merge(found: Sequence[Detection], most_overlap: float = 0.5) -> list[Detection]:
    """Return the surest of overlapping detections of a class, surest first."""
    boxes = np.array([each.box for each in found]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels, scores = (np.array([getattr(d, k) for d in found]) for k in ("label", "score"))
    return [found[i] for i in suppress_overlaps(boxes, scores, labels, most_overlap)]


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
