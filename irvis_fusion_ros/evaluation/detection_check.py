"""Runs an object detector on each row's images, and counts what it finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irvis_fusion_core.detectors import Annotations, Detection, Detector, DetectorFile, Tally
from irvis_fusion_core.detectors.average_precision import PrecisionRecall, interval, resamples
from irvis_fusion_core.detectors.detection import regroup
from irvis_fusion_core.detectors.labels import group_names
from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.evaluation.image_store import Shown, TopFrames, as_rgb, draw_boxes, jpeg
from irvis_fusion_ros.evaluation.measure import Sampling

SHOWN = 2
ROUNDS = 1000
"""Of the bootstrap over images."""


class DetectionCheck:
    """Runs one detector on the images of all rows, and counts."""

    def __init__(
        self,
        detector: Detector,
        annotations: Annotations | None,
        frames: int,
        most: int,
        apart_s: float = 1.0,
        min_score: float = -math.inf,
    ) -> None:
        """Choose the frames to look at: every annotated one, or `most` of `frames` (0: all).

        `apart_s` is the least time between two examples, `min_score` that of detections that
        are counted; the average precision takes all.

        Raises:
            FusionError: The detector cannot report any annotated class.
        """
        self._tallies: dict[str, Tally] = {}
        self._by_class: dict[str, dict[str, PrecisionRecall]] = {}
        self._annotations = annotations
        self._min_score = min_score
        self._detector = detector
        self._labels = _common_labels(detector, annotations)
        # Class of the detector -> annotated class, "vehicle" for a truck.
        self._groups = group_names(self._labels)
        self._sampling = Sampling(frames, most)
        self._looked_at = 0
        self._examples = TopFrames(SHOWN, apart_s)

    def wants(self, index: int, stamp_ns: int) -> bool:
        """Return whether to look at this fused frame."""
        if self._annotations is not None:
            return self._annotations.has(index, stamp_ns)
        return self._sampling.take(index)

    def look(
        self, index: int, stamp_ns: int, seconds: float, images: Mapping[str, np.ndarray]
    ) -> dict[str, int]:
        """Detect in every row's image (uint8 RGB or grey); return row -> number of detections."""
        self._looked_at += 1
        height, width = next(iter(images.values())).shape[:2]
        truth = None
        if self._annotations is not None:
            truth = self._annotations.of_frame(index, stamp_ns, height, width)
            truth = None if truth is None else [t for t in truth if t.label in self._groups]
        # OpenCV's HOG and ONNX Runtime have their own threads: one image after the other.
        found: dict[str, list[Detection]] = {}
        for name, image in images.items():
            detections = self._detector.find(as_rgb(image))
            if self._annotations is not None:
                detections = regroup(detections, self._groups)
            found[name] = [d for d in detections if d.score >= self._min_score]
            tally = self._tallies.setdefault(name, Tally(self._detector.min_overlap))
            tally.add(found[name], truth)
            for label in self._labels if truth is not None else ():
                counters = self._by_class.setdefault(name, {})
                counter = counters.setdefault(label, PrecisionRecall(self._detector.min_overlap))
                true = [t for t in truth or () if t.label == label]
                counter.add([d for d in detections if d.label == label], true)
        counts = {name: len(detections) for name, detections in found.items()}
        spread = max(counts.values()) - min(counts.values())
        if spread and self._examples.wants(spread, seconds):
            drawn = {n: jpeg(draw_boxes(p, found[n], truth or ())) for n, p in images.items()}
            self._examples.add(Shown(spread, index, seconds, counts, drawn))
        return counts

    def summary(self) -> dict[str, Any]:
        """Return the entry of summary.json."""
        return {
            "detector": self._detector.name,
            "min_overlap": self._detector.min_overlap,
            "frames": self._looked_at,
            "annotated": self._annotations is not None,
            "classes": sorted(self._labels) if self._labels else "all",
            "rows": {name: tally.summary() for name, tally in self._tallies.items()},
            "by_class": {name: _figures(row) for name, row in self._by_class.items()},
        }

    def examples(self) -> list[Shown]:
        """Return the frames whose numbers of detections, the scores, differ most; by time."""
        return sorted(self._examples.frames(), key=lambda e: e.frame)


def _figures(counters: Mapping[str, PrecisionRecall]) -> dict[str, dict[str, Any]]:
    """Return class -> objects, AP with its interval, and recall at a precision of .9."""
    figures: dict[str, dict[str, Any]] = {}
    for label, counter in counters.items():
        if counter.objects:
            draws = counter.average_precision(resamples(counter.images, ROUNDS))
            figures[label] = {
                "objects": counter.objects,
                "average_precision": float(counter.average_precision()[0]),
                "interval": interval(draws),
                "recall_at_precision_0.9": float(counter.recall_at(0.9)[0]),
            }
    return figures


def _common_labels(detector: Detector, annotations: Annotations | None) -> Sequence[str]:
    """Return the annotated classes to compare; an empty sequence for all."""
    if annotations is None:
        return ()
    if isinstance(detector, DetectorFile) and not detector.named:
        raise FusionError(
            f"expected class names in {detector.name} to compare with annotations, found none for "
            f"its {len(detector.labels)} classes; give them all in --class-names, in its order"
        )
    common = [
        label
        for label in annotations.labels
        if any(member in detector.labels for member in group_names([label]))
    ]
    if annotations.labels and not common:
        raise FusionError(
            f"expected annotations of classes that {detector.name} reports "
            f"({', '.join(detector.labels[:8])}), found {', '.join(annotations.labels[:8])}; "
            "give --class-names for YOLO files without classes.txt, or another --detector"
        )
    return common or list(detector.labels)
