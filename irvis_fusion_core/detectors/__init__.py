"""Detectors that judge fused images, and annotations to compare with."""

from __future__ import annotations

from typing import Union

from irvis_fusion_core.detectors.annotations import Annotations, read_annotations
from irvis_fusion_core.detectors.detection import Detection, Tally
from irvis_fusion_core.detectors.people_detector import PeopleDetector
from irvis_fusion_core.detectors.yolo import YoloDetector

__all__ = [
    "Annotations",
    "Detection",
    "Detector",
    "PeopleDetector",
    "Tally",
    "YoloDetector",
    "open_detector",
    "read_annotations",
]

Detector = Union[PeopleDetector, YoloDetector]


def open_detector(model: str | None = None, min_score: float = 0.25) -> Detector:
    """Open the HOG people detector, or the YOLO-style detector of an ONNX file.

    Raises:
        EngineUnavailableError: nothing here can run it.
        ModelError: the file is missing, or its output is not YOLO's.
    """
    return YoloDetector(model, min_score) if model else PeopleDetector()
