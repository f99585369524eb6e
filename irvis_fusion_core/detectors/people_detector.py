"""OpenCV's HOG people detector (Dalal and Triggs, CVPR 2005).

It knows no thermal images, and stands for an RGB detector that a robot already has.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from irvis_fusion_core.detectors.detection import Box, Detection, Truth, match
from irvis_fusion_core.detectors.labels import PERSON
from irvis_fusion_core.errors import EngineUnavailableError

# Overlap over union from which a detection counts. The detector's window has a margin of a sixth
# around a person, so that even a perfect detection has only about 0.5.
MIN_OVERLAP = 0.3
# Detections below this are mostly textured walls.
MIN_SCORE = 0.4
_WINDOW = (128, 64)  # height, width of the detector's window


class PeopleDetector:
    """Finds upright people; the attributes are those of `YoloDetector`.

    Raises:
        EngineUnavailableError: this OpenCV has no HOG detector.
    """

    name = "OpenCV HOG people detector"
    labels: tuple[str, ...] = (PERSON,)
    min_overlap = MIN_OVERLAP

    def __init__(self) -> None:
        if not hasattr(cv2, "HOGDescriptor"):
            raise EngineUnavailableError(
                f"expected an OpenCV with HOGDescriptor for the demo's people detector, found "
                f"{cv2.__version__}, which has none; pip install 'opencv-python-headless<5'"
            )
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def find(self, image: np.ndarray) -> list[Detection]:
        """Return people in a uint8 colour image [height, width, 3], surest first."""
        if image.shape[0] < _WINDOW[0] or image.shape[1] < _WINDOW[1]:
            return []  # smaller than the window; OpenCV would raise
        found, scores = self._hog.detectMultiScale(
            np.ascontiguousarray(image), winStride=(8, 8), padding=(8, 8), scale=1.05
        )
        people = [
            Detection(Box(*map(float, box)), float(score), PERSON)
            for box, score in zip(found, np.ravel(scores))
            if score > MIN_SCORE
        ]
        return sorted(people, key=lambda each: -each.score)


def count_hits(found: Sequence[Box], truth: Sequence[Box]) -> int:
    """Count the people that were found, surest first; each box counts for one person."""
    people = [Detection(box, 0.0, PERSON) for box in found]
    verdicts = match(people, [Truth(box, PERSON) for box in truth], MIN_OVERLAP)
    return sum(verdict is True for verdict in verdicts)
