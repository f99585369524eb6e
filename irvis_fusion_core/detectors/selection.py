"""Chooses the detector: the built-in one, or the user's model."""

from __future__ import annotations

from typing import Union

from irvis_fusion_core.detectors.hog import HogDetector
from irvis_fusion_core.detectors.yolo import YoloDetector

Detector = Union[HogDetector, YoloDetector]


def open_detector(model: str | None = None, min_score: float = 0.25) -> Detector:
    """Open the HOG people detector, or the YOLO-style detector of an ONNX file.

    Raises:
        EngineUnavailableError: nothing here can run it.
        ModelError: the file is missing, or its output is not YOLO's.
    """
    return YoloDetector(model, min_score) if model else HogDetector()
