"""Detections of every row, by class, with a detector that says what it is told to."""

import numpy as np
import pytest

from irvis_fusion_core.detectors import Detection, read_annotations
from irvis_fusion_core.detectors.detection import Box
from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.evaluation.detection_check import DetectionCheck

IMAGE = np.zeros((100, 100, 3), np.uint8)
BOX = Box(10, 10, 20, 10)
VEHICLE = "0 0.2 0.15 0.2 0.1\n"


class Told:
    name, min_overlap = "told", 0.5

    def __init__(self, labels, *found):
        self.labels, self._found = labels, found

    def find(self, image):
        return [] if image.max() else list(self._found)


def annotations(folder, name="vehicle", text=VEHICLE):
    (folder / "classes.txt").write_text(name)
    for number in range(3):
        (folder / f"{number}.txt").write_text(text)
    return read_annotations(str(folder))


def check(detector, known, min_score=0.25):
    result = DetectionCheck(detector, known, 3, 0, min_score=min_score)
    for index in range(3):
        result.look(index, index, float(index), {"dark": IMAGE, "bright": IMAGE + 255})
    return result.summary()


def test_a_vehicle_found_as_truck_and_car_is_one(tmp_path):
    detector = Told(("car", "truck"), Detection(BOX, 0.9, "truck"), Detection(BOX, 0.5, "car"))
    summary = check(detector, annotations(tmp_path))
    row = summary["rows"]["dark"]
    assert (row["true"], row["false"], row["missed"]) == (3, 0, 0)
    figures = summary["by_class"]["dark"]["vehicle"]
    assert (figures["objects"], figures["average_precision"]) == (3, 1.0)
    assert figures["interval"] == (1.0, 1.0) and figures["recall_at_precision_0.9"] == 1.0
    assert summary["by_class"]["bright"]["vehicle"]["average_precision"] == 0.0


def test_doubtful_detections_count_for_the_average_precision_alone(tmp_path):
    detector = Told(("car",), Detection(BOX, 0.1, "car"))
    summary = check(detector, annotations(tmp_path, "car"))
    assert summary["rows"]["dark"]["found"] == 0
    assert summary["by_class"]["dark"]["car"]["average_precision"] == 1.0


def test_a_detector_without_names_is_refused(tmp_path):
    from irvis_fusion_core.detectors import DetectorFile

    detector = DetectorFile.__new__(DetectorFile)
    detector.name, detector.labels, detector.named = "own.onnx", ("class 0",), False
    with pytest.raises(FusionError, match="--class-names"):
        check(detector, annotations(tmp_path))
