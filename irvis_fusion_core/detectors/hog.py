"""OpenCV's people detector for the evaluation: nothing to download."""

from __future__ import annotations

import numpy as np

from irvis_fusion_core.detectors.detection import PERSON, Detection
from irvis_fusion_core.detectors.people_detector import MIN_OVERLAP, PeopleDetector


class HogDetector:
    """Finds upright people (Dalal and Triggs, CVPR 2005).

    Attributes:
        name: for tables.
        labels: the classes that it can report.
        min_overlap: overlap over union from which a detection counts.

    Raises:
        EngineUnavailableError: this OpenCV has no HOG detector.
    """

    name = "OpenCV HOG people detector"
    labels: tuple[str, ...] = (PERSON,)
    min_overlap = MIN_OVERLAP

    def __init__(self) -> None:
        self._detector = PeopleDetector()

    def find(self, image: np.ndarray) -> list[Detection]:
        """Return people in a uint8 RGB image [height, width, 3], surest first."""
        return [Detection(box, score, PERSON) for box, score in self._detector.find_scored(image)]
