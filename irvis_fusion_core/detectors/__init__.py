"""Detectors that judge fused images, and annotations to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from irvis_fusion_core.detectors.annotations import Annotations, read_annotations
from irvis_fusion_core.detectors.detection import Detection, Tally
from irvis_fusion_core.detectors.detector_file import DetectorFile
from irvis_fusion_core.detectors.people_detector import PeopleDetector

__all__ = [
    "Annotations",
    "Detection",
    "Detector",
    "DetectorFile",
    "PeopleDetector",
    "Tally",
    "YoloDetector",
    "open_detector",
    "read_annotations",
]

Detector = Union[PeopleDetector, DetectorFile]
YoloDetector = DetectorFile
"""The name of one release ago."""


def open_detector(
    model: str | None = None,
    min_score: float = 0.25,
    names: Sequence[str] = (),
    threads: int = 0,
) -> Detector:
    """Open the HOG people detector, or the detector of a file, as `DetectorFile`.

    Raises:
        EngineUnavailableError: nothing here can run it.
        ModelError: the file is missing, or its outputs have no known layout.
    """
    return DetectorFile(model, min_score, names, threads) if model else PeopleDetector()
