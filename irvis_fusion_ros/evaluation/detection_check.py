"""What a detector that knows nothing of fusion finds in each row's images."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from irvis_fusion_core.detectors import Annotations, Detection, Tally
from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.evaluation.image_store import as_rgb, draw_boxes, jpeg
from irvis_fusion_ros.evaluation.measure import Sampling

SHOWN = 2


class Example(NamedTuple):
    """A frame in which the rows differ: the images with boxes, JPEG, by row."""

    spread: int
    frame: int
    seconds: float
    found: Dict[str, int]
    images: Dict[str, bytes]


class DetectionCheck:
    """Runs one detector on the images of all rows, and counts."""

    def __init__(
        self,
        detector: Any,
        annotations: Optional[Annotations],
        frames: int,
        most: int,
        apart_s: float = 1.0,
    ) -> None:
        """Look at up to `most` of `frames` frames; with annotations at all annotated ones.
        Examples are `apart_s` from one another.

        Raises:
            FusionError: annotations of things that the detector cannot report.
        """
        self.name = detector.name
        self._apart_s = apart_s
        self.annotations = annotations
        self.tallies: Dict[str, Tally] = {}
        self._detector = detector
        self._labels = _common_labels(detector, annotations)
        self._sampling = Sampling(frames, most)
        self._looked_at = 0
        self._examples: List[Example] = []

    def wants(self, index: int, stamp_ns: int) -> bool:
        """Whether this frame, which was fused, is to be looked at."""
        if self.annotations is not None:
            return self.annotations.has(index, stamp_ns)
        return self._sampling.take(index)

    def look(
        self,
        index: int,
        stamp_ns: int,
        seconds: float,
        images: Dict[str, np.ndarray],
    ) -> Dict[str, int]:
        """Detect in every row's image (uint8 RGB or grey); row -> number of finds."""
        self._looked_at += 1
        height, width = next(iter(images.values())).shape[:2]
        truth = None
        if self.annotations is not None:
            truth = self.annotations.of_frame(index, stamp_ns, height, width)
            truth = None if truth is None else [t for t in truth if t.label in self._labels]
        # OpenCV's HOG and ONNX Runtime have threads of their own: one image after the other.
        found: Dict[str, Sequence[Detection]] = {
            name: self._kept(self._detector.find(as_rgb(image))) for name, image in images.items()
        }
        for name, detections in found.items():
            tally = self.tallies.setdefault(name, Tally(self._detector.min_overlap))
            tally.add(detections, truth)
        self._keep_example(index, seconds, images, found, truth or [])
        return {name: len(detections) for name, detections in found.items()}

    def summary(self) -> Dict[str, Any]:
        """What is written into summary.json."""
        return {
            "detector": self.name,
            "min_overlap": self._detector.min_overlap,
            "frames": self._looked_at,
            "annotated": self.annotations is not None,
            "classes": sorted(self._labels) if self._labels else "all",
            "rows": {name: tally.summary() for name, tally in self.tallies.items()},
        }

    def examples(self) -> List[Example]:
        """Frames in which the number of finds differs most between rows, in order of time."""
        return sorted(self._examples, key=lambda e: e.frame)

    def _kept(self, detections: Sequence[Detection]) -> List[Detection]:
        return [d for d in detections if not self._labels or d.label in self._labels]

    def _keep_example(
        self,
        index: int,
        seconds: float,
        images: Dict[str, np.ndarray],
        found: Dict[str, Sequence[Detection]],
        truth: Sequence[Any],
    ) -> None:
        counts = {name: len(detections) for name, detections in found.items()}
        spread = max(counts.values()) - min(counts.values())
        apart = all(abs(e.seconds - seconds) >= self._apart_s for e in self._examples)
        least = min((e.spread for e in self._examples), default=-1)
        full = len(self._examples) >= SHOWN
        if not spread or not apart or (full and spread <= least):
            return
        drawn = {n: jpeg(draw_boxes(p, found[n], truth)) for n, p in images.items()}
        self._examples.append(Example(spread, index, seconds, counts, drawn))
        self._examples.sort(key=lambda e: (-e.spread, e.frame))
        del self._examples[SHOWN:]


def _common_labels(detector: Any, annotations: Optional[Annotations]) -> Sequence[str]:
    """The classes that are compared; nothing for all."""
    if annotations is None:
        return ()
    if not detector.labels:
        return annotations.labels
    common = [label for label in annotations.labels if label in detector.labels]
    if annotations.labels and not common:
        raise FusionError(
            f"expected annotations of what {detector.name} reports "
            f"({', '.join(detector.labels[:8])}), found {', '.join(annotations.labels[:8])}; "
            "give --class-names for YOLO files without classes.txt, or another --detector"
        )
    return common or list(detector.labels)
