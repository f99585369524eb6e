"""OpenCV's people detector in the form that the evaluation takes: nothing to download."""

from __future__ import annotations

import numpy as np

from irvis_fusion_core.detectors.detection import PERSON, Detection
from irvis_fusion_core.detectors.people_detector import MIN_OVERLAP, PeopleDetector


class HogDetector:
    """Finds upright people (Dalal and Triggs, CVPR 2005).

    Attributes:
        name: for tables.
        labels: the classes that it can report.
        min_overlap: with the truth, from which on a find counts: less than the usual 0.5, for the
            detector's window leaves a margin around a person.

    Raises:
        EngineUnavailableError: this OpenCV has no HOG detector.
    """

    name = "OpenCV HOG people detector"
    labels: tuple[str, ...] = (PERSON,)
    min_overlap = MIN_OVERLAP

    def __init__(self) -> None:
        self._detector = PeopleDetector()

    def find(self, image: np.ndarray) -> list[Detection]:
        """People in a uint8 RGB image [height, width, 3], surest first."""
        return [Detection(box, score, PERSON) for box, score in self._detector.find_scored(image)]
