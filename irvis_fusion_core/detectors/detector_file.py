"""The detector of an .onnx or OpenVINO file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from irvis_fusion_core.detectors.detection import Box, Detection, suppress_overlaps
from irvis_fusion_core.detectors.labels import COCO, normal_label
from irvis_fusion_core.detectors.layouts import Facts, Found, choose_layout
from irvis_fusion_core.detectors.network_file import class_names, open_network
from irvis_fusion_core.errors import ModelError

_MOST_KEPT = 300
_GREY = 114


class DetectorFile:
    """Finds objects of the classes of a file in one of the layouts of `layouts`.

    Attributes:
        name: for tables.
        labels: its classes by number: as the file names them, or COCO's if it has 80 classes,
            or `names`; "class 0"... otherwise.
        named: whether the classes have names.
        min_overlap: overlap over union from which a detection counts.

    Args:
        path: of an .onnx or .xml.
        min_score: of a detection.
        names: the class names, for a file without.
        threads: of the engine; 0 for its own choice.

    Raises:
        EngineUnavailableError: nothing here can run it.
        ModelError: the file is missing, is no detector, or has an unknown layout.
    """

    min_overlap = 0.5

    def __init__(
        self, path: str, min_score: float = 0.25, names: Sequence[str] = (), threads: int = 0
    ) -> None:
        self.name = os.path.basename(path)
        self.min_score = min_score
        self._network = open_network(path, threads)
        labels: Sequence[str] = class_names(self._network.metadata)
        task = self._network.metadata.get("task", "")
        self._facts = Facts(*self._network.input_size, len(labels), task)
        # The layout shows only in a result; the preparation hardly matters for plain grey.
        grey = np.full((1, 3, *self._network.input_size), _GREY / 255.0, np.float32)
        outputs = self._network.run(grey)
        self._layout = choose_layout(outputs, self._facts)
        count = self._decode(outputs).scores.shape[1]
        self.named = bool(labels)
        if not labels and (count == len(COCO) or len(names) >= count):
            labels, self.named = COCO if count == len(COCO) else names, True
        self.labels = tuple(
            map(normal_label, labels or [f"class {number}" for number in range(count)])
        )

    def find(self, image: np.ndarray) -> list[Detection]:
        """Return objects in a uint8 RGB image [height, width, 3], surest first.

        Raises:
            ModelError: scores are not within 0..1, or boxes not in pixels.
        """
        preparation = self._layout.preparation
        fitted, place = preparation.fit(image, *self._network.input_size)
        found = self._decode(self._network.run(preparation.tensor(fitted)))
        classes = found.scores.argmax(1)
        scores = found.scores[np.arange(len(classes)), classes]
        keep = np.flatnonzero(scores >= self.min_score)
        if found.overlapping:
            kept = suppress_overlaps(found.boxes[keep], scores[keep], classes[keep])
            keep = keep[kept[:_MOST_KEPT]]
        else:
            keep = keep[np.argsort(-scores[keep], kind="stable")]
        height, width = image.shape[:2]
        boxes = np.clip(place.to_image(found.boxes[keep]), 0, (width, height, width, height))
        return [
            Detection(Box(x0, y0, x1 - x0, y1 - y0), float(score), self._label(k))
            for (x0, y0, x1, y1), score, k in zip(boxes.tolist(), scores[keep], classes[keep])
            if x1 > x0 and y1 > y0
        ]

    def _label(self, number: int) -> str:
        return self.labels[number] if number < len(self.labels) else f"class {number}"

    def _decode(self, outputs: Sequence[np.ndarray]) -> Found:
        found = self._layout.decode(outputs, self._facts)
        lowest, highest = found.scores.min(initial=0.0), found.scores.max(initial=0.0)
        if not (np.isfinite([lowest, highest]).all() and lowest >= -1e-3 and highest <= 1.001):
            raise ModelError(
                f"expected scores of {self.name} within 0..1, read as {self._layout.description}, "
                f"found {lowest:.3g}..{highest:.3g}; export the detector with its sigmoid and "
                "with its class names"
            )
        boxes = found.boxes[found.scores.max(1, initial=0.0) > 0.0]
        if len(boxes) and np.abs(boxes).max() <= 2.0:
            raise ModelError(
                f"expected boxes of {self.name} in pixels, read as {self._layout.description}, "
                f"found none above {np.abs(boxes).max():.3g}; export the detector with boxes in "
                "pixels of its input"
            )
        return found
