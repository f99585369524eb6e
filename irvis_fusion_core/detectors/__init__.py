"""Detectors that judge fused images, and annotations to compare with."""

from __future__ import annotations

from irvis_fusion_core.detectors.annotations import Annotations, read_annotations
from irvis_fusion_core.detectors.detection import Detection, Tally, count_matches
from irvis_fusion_core.detectors.hog import HogDetector
from irvis_fusion_core.detectors.selection import open_detector
from irvis_fusion_core.detectors.yolo import YoloDetector

__all__ = [
    "Annotations",
    "Detection",
    "HogDetector",
    "Tally",
    "YoloDetector",
    "count_matches",
    "open_detector",
    "read_annotations",
]
