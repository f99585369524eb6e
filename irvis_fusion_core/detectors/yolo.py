"""ONNX detectors with YOLO-style output, run by ONNX Runtime or OpenCV.

Three layouts of the output are told apart by its shape, and by the number of classes in the file's
metadata where there is one:

* [1, 4 + classes, anchors]: YOLOv8 and later. Centre x, y, width, height, a score for each class.
* [1, anchors, 5 + classes]: YOLOv5 and v7. As above, with an objectness before the classes.
* [1, boxes, 6]: exported with suppression inside (YOLOv10, `nms=True`). Left, top, right,
  bottom, score, class.

Coordinates are pixels of the network's input, into which an image is fitted with grey bars.
"""

from __future__ import annotations

import ast
import os
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.detectors.detection import Box, Detection, normal_label, suppress_overlaps
from irvis_fusion_core.errors import EngineUnavailableError, ModelError

DEFAULT_SIDE = 640  # where the model leaves its input size open
_BAR_GREY = 114
_MOST_KEPT = 300


class Letterbox(NamedTuple):
    """The place of an image in the network's input: scaled, then moved, in pixels."""

    scale: float
    left: int
    top: int


class YoloDetector:
    """Finds objects of the classes of an ONNX model.

    Attributes:
        labels: its classes by number; empty where the file does not name them.
        min_overlap: overlap over union from which a detection counts.

    Raises:
        EngineUnavailableError: neither ONNX Runtime nor this OpenCV can run it.
        ModelError: the file is missing, or its input is not one image.
    """

    min_overlap = 0.5

    def __init__(self, path: str, min_score: float = 0.25) -> None:
        if not os.path.isfile(path):
            raise ModelError(f"expected a detector's .onnx at {path}, found no such file")
        self.name = os.path.basename(path)
        self.min_score = min_score
        try:
            import onnxruntime
        except ImportError:
            self._network: Any = _OpenCvNetwork(path)
        else:
            self._network = _RuntimeNetwork(onnxruntime, path)
        self.labels = tuple(map(normal_label, _class_names(self._network.metadata)))

    def find(self, image: np.ndarray) -> list[Detection]:
        """Return objects in a uint8 RGB image [height, width, 3], surest first.

        Raises:
            ModelError: the model's output is not YOLO's.
        """
        fitted, place = fit(image, *self._network.input_size)
        tensor = np.ascontiguousarray(fitted.transpose(2, 0, 1)[None], np.float32) / 255.0
        output = self._network.run(tensor)
        boxes, scores, classes = read_output(output, len(self.labels), self.min_score)
        boxes = (boxes - (place.left, place.top, place.left, place.top)) / place.scale
        height, width = image.shape[:2]
        boxes = np.clip(boxes, 0, (width, height, width, height))
        return [
            Detection(Box(x0, y0, x1 - x0, y1 - y0), float(score), self._label(k))
            for (x0, y0, x1, y1), score, k in zip(boxes.tolist(), scores, classes.astype(int))
            if x1 > x0 and y1 > y0
        ]

    def _label(self, number: int) -> str:
        return self.labels[number] if 0 <= number < len(self.labels) else f"class {number}"


def fit(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Letterbox]:
    """Fit the image into height x width, with its proportions and grey bars."""
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    fitted = np.full((height, width, 3), _BAR_GREY, np.uint8)
    fitted[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
    return fitted, Letterbox(scale, left, top)


def read_output(
    output: np.ndarray, classes: int, min_score: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes [n, 4] (left, top, right, bottom in input pixels), scores and classes [n].

    Args:
        output: the network's, in one of the layouts above.
        classes: the number of classes; 0 where it is unknown.

    Raises:
        ModelError: the output has none of the layouts.
    """
    if output.ndim != 3 or output.shape[0] != 1 or min(output.shape[1:]) < 5:
        raise ModelError(
            "expected a YOLO-style output [1, 4 + classes, anchors], [1, anchors, 5 + classes] or "
            f"[1, boxes, 6], found {list(output.shape)}; export it without post-processing"
        )
    table = output[0].astype(np.float64)
    # A class is a whole number; YOLOv5 of one class has its score in that place.
    if table.shape[1] == 6 and not np.mod(table[:, 5], 1.0).any():
        keep = table[:, 4] >= min_score
        return table[keep, :4], table[keep, 4], table[keep, 5]
    anchors_last = table.shape[0] < table.shape[1]
    if classes and classes + 4 in table.shape:
        anchors_last = table.shape[0] == classes + 4
    elif classes and classes + 5 in table.shape:
        anchors_last = table.shape[0] == classes + 5
    table = table.T if anchors_last else table
    # YOLOv8 and later put the anchors last and have no objectness; v5 and v7 the reverse.
    objectness = table.shape[1] == classes + 5 if classes else not anchors_last
    by_class = table[:, 5:] * table[:, 4:5] if objectness else table[:, 4:]
    labels = by_class.argmax(axis=1)
    scores = by_class[np.arange(len(by_class)), labels]
    keep = scores >= min_score
    centres, halves = table[keep, :2], table[keep, 2:4] / 2.0
    boxes = np.hstack([centres - halves, centres + halves])
    kept = suppress_overlaps(boxes, scores[keep], labels[keep])[:_MOST_KEPT]
    return boxes[kept], scores[keep][kept], labels[keep][kept]


def _class_names(metadata: dict[str, str]) -> list[str]:
    """Return the class names, which exporters write as a Python dict or list."""
    try:
        names = ast.literal_eval(metadata.get("names", "[]"))
    except (SyntaxError, ValueError):
        return []
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


class _RuntimeNetwork:
    """ONNX Runtime on the CPU."""

    def __init__(self, onnxruntime: Any, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            cpu = ["CPUExecutionProvider"]
            self._session = onnxruntime.InferenceSession(path, options, providers=cpu)
        except Exception as error:  # onnxruntime's own classes, which have no common root
            raise ModelError(
                f"expected an ONNX detector in {path}, found: {error}; export it once more"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, "3"):
            raise ModelError(
                f"expected one input [1, 3, height, width] in {path}, found "
                f"{[(i.name, i.shape) for i in inputs]}; is this a detector?"
            )
        self._type = np.float16 if "float16" in inputs[0].type else np.float32
        self._input = inputs[0].name
        sides = [side if isinstance(side, int) else DEFAULT_SIDE for side in inputs[0].shape[2:]]
        self.input_size = (sides[0], sides[1])
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run(None, {self._input: tensor.astype(self._type)})[0])


class _OpenCvNetwork:
    """OpenCV: square input of the default size, no class names."""

    def __init__(self, path: str) -> None:
        if not hasattr(cv2.dnn, "readNetFromONNX"):
            raise EngineUnavailableError(
                "expected ONNX Runtime or OpenCV with dnn, found neither; pip install onnxruntime"
            )
        try:
            self._network = cv2.dnn.readNetFromONNX(path)
        except cv2.error as error:
            raise ModelError(
                f"expected an ONNX detector that OpenCV reads in {path}, found: {error}; "
                "pip install onnxruntime takes more of them"
            ) from error
        self.input_size = (DEFAULT_SIDE, DEFAULT_SIDE)
        self.metadata: dict[str, str] = {}

    def run(self, tensor: np.ndarray) -> np.ndarray:
        self._network.setInput(tensor)
        return np.asarray(self._network.forward())
