"""The outputs of detector families: how each is recognised, prepared for and decoded.

`LAYOUTS` is the table; the first layout that recognises the outputs for a grey image is taken.
Boxes come as left, top, right, bottom in pixels of the network's input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irvis_fusion_core.detectors.preparation import Preparation
from irvis_fusion_core.errors import ModelError

MOST_QUERIES = 1000
"""A table with more rows has anchors, not final boxes."""


class Facts(NamedTuple):
    """What is known of a detector besides its outputs.

    Attributes:
        height, width: of the input, pixels.
        classes: the number of class names in the file; 0 where there are none.
        task: Ultralytics' word for what the model does: detect, segment, pose, obb; "" if unknown.
    """

    height: int
    width: int
    classes: int = 0
    task: str = ""


class Found(NamedTuple):
    """Boxes [n, 4], their scores [n, classes], and whether overlapping ones are still to go."""

    boxes: np.ndarray
    scores: np.ndarray
    overlapping: bool = True


class Layout(ABC):
    """One family."""

    description = ""
    preparation = Preparation()

    @abstractmethod
    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        """Return whether the outputs for a grey image have this layout."""

    @abstractmethod
    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        """Return all candidates, unsorted."""


def grid(facts: Facts, strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row [n, 2] and stride [n, 1] of every cell, one stride after another."""
    cells, sizes = [], []
    for stride in strides:
        rows, columns = np.mgrid[: -(-facts.height // stride), : -(-facts.width // stride)]
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1))
        sizes.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(sizes).astype(np.float64)


def corners(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return boxes [n, 4] of centres and sizes [n, 2]."""
    return np.hstack([centres - sizes / 2.0, centres + sizes / 2.0])


def _table(outputs: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the first output without its batch as float64 [rows, columns].

    None if it is no table, or if others than mask prototypes and raw heads follow.
    """
    if not outputs or outputs[0].ndim != 3 or outputs[0].shape[0] != 1:
        return None
    if any(other.ndim < 4 for other in outputs[1:]):
        return None
    return outputs[0][0].astype(np.float64)


def _masks(outputs: Sequence[np.ndarray]) -> int:
    """Return the number of mask coefficients, which the prototypes [1, n, h, w] tell."""
    return next((o.shape[1] for o in outputs[1:] if o.ndim == 4), 0)


def _one_hot(classes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    classes = classes.astype(int)
    table = np.zeros((len(classes), int(classes.max(initial=0)) + 1))
    table[np.arange(len(classes)), classes] = scores
    return table


def _hull(centres: np.ndarray, sizes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the upright boxes around boxes turned by angles [n, 1] (radians)."""
    turn = np.abs(np.hstack([np.cos(angles), np.sin(angles)]))
    around = np.stack([(turn * sizes).sum(1), (turn[:, ::-1] * sizes).sum(1)], 1)
    return corners(centres, around)


class DetrResults(Layout):
    """RT-DETR with its post-processing: three outputs, boxes in pixels of the given size."""

    description = "labels [1, n], boxes [1, n, 4] and scores [1, n] (RT-DETR)"
    preparation = Preparation(placing="stretched")

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        if [o.ndim for o in outputs] != [2, 3, 2]:
            return False
        return outputs[1].shape == (*outputs[0].shape, 4) and outputs[0].shape == outputs[2].shape

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        labels, boxes, scores = (o[0].astype(np.float64) for o in outputs)
        return Found(boxes, _one_hot(labels, scores), overlapping=False)


class DetrLogits(Layout):
    """RT-DETR as Hugging Face exports it."""

    description = "logits [1, n, classes] and normalised boxes [1, n, 4] (RT-DETR)"
    preparation = Preparation(placing="stretched")

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        two = len(outputs) == 2 and all(o.ndim == 3 for o in outputs)
        # 92 are DETR's: softmax with a class for "nothing", and another preparation.
        return (
            two
            and (outputs[0].shape[1] == outputs[1].shape[1] <= MOST_QUERIES)
            and (
                (outputs[0].shape[2] == 4) != (outputs[1].shape[2] == 4)
                and max(o.shape[2] for o in outputs) != 92
            )
        )

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        tables = (o[0].astype(np.float64) for o in outputs)
        boxes, logits = sorted(tables, key=lambda table: table.shape[1] != 4)
        boxes = boxes * ((facts.width, facts.height) * 2)
        return Found(corners(boxes[:, :2], boxes[:, 2:]), 1.0 / (1.0 + np.exp(-logits)), False)


class DetrTable(Layout):
    """RT-DETR as Ultralytics exports it."""

    description = "[1, n, 4 + classes] with normalised boxes (RT-DETR)"
    preparation = Preparation(placing="stretched")

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        table = _table(outputs)
        if table is None or len(table) > MOST_QUERIES or table.shape[1] < 5:
            return False
        boxes, classes = table[:, :4], table.shape[1] - 4
        fits = classes == facts.classes if facts.classes else classes != 2
        return fits and bool(boxes.any()) and boxes.min() >= -0.5 and boxes.max() <= 1.5

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        table = outputs[0][0].astype(np.float64)
        boxes = table[:, :4] * ((facts.width, facts.height) * 2)
        return Found(corners(boxes[:, :2], boxes[:, 2:]), table[:, 4:], overlapping=False)


class NanoDet(Layout):
    """NanoDet: scores and distributions of distances to the four sides, for each stride."""

    description = "class scores [n, classes] and distances [n, 32] for each stride (NanoDet)"
    preparation = Preparation(True, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), 0)
    bins = 8

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        scores, distances = self._by_stride(outputs)
        strides = (8, 16, 32, 64)[: len(scores)]
        cells = [len(grid(facts, [stride])[0]) for stride in strides]
        return (
            len(scores) in (3, 4)
            and len({o.shape[1] for o in scores}) == 1
            and [len(o) for o in scores] == [len(o) for o in distances] == cells
        )

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        scores, distances = self._by_stride(outputs)
        cells, strides = grid(facts, (8, 16, 32, 64)[: len(scores)])
        centres = cells * strides + (strides - 1.0) / 2.0
        return self._decoded(centres, strides, np.concatenate(scores), np.concatenate(distances))

    def _decoded(
        self, centres: np.ndarray, strides: np.ndarray, scores: np.ndarray, bins: np.ndarray
    ) -> Found:
        shares = bins.reshape(len(bins), 4, self.bins)
        shares = np.exp(shares - shares.max(-1, keepdims=True))
        mean = (shares * np.arange(self.bins)).sum(-1) / shares.sum(-1)
        sides = mean * strides
        return Found(np.hstack([centres - sides[:, :2], centres + sides[:, 2:]]), scores)

    def _by_stride(
        self, outputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return score tables and distance tables, the finest grid first."""
        if any(o.ndim not in (2, 3) for o in outputs):
            return [], []
        flat: list[np.ndarray] = [o.reshape(o.shape[-2:]).astype(np.float64) for o in outputs]
        flat.sort(key=lambda table: -len(table))
        width = 4 * self.bins
        scores = [table for table in flat if table.shape[-1] != width]
        return scores, [table for table in flat if table.shape[-1] == width]


class NanoDetPlus(NanoDet):
    """NanoDet-Plus: one table, four strides, centres at the corners of the cells."""

    description = "[1, anchors, classes + 32] on a grid of strides 8 to 64 (NanoDet-Plus)"

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        table = _table(outputs)
        cells = len(grid(facts, (8, 16, 32, 64))[0])
        return table is not None and len(table) == cells and table.shape[1] > 4 * self.bins

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        table = outputs[0][0].astype(np.float64)
        cells, strides = grid(facts, (8, 16, 32, 64))
        parts = table[:, : -4 * self.bins], table[:, -4 * self.bins :]
        return self._decoded(cells * strides, strides, *parts)


class Yolox(Layout):
    """YOLOX: one anchor a cell, boxes raw or already in pixels, objectness times class."""

    description = "[1, cells, 5 + classes] on a grid of strides 8, 16, 32 (YOLOX)"
    preparation = Preparation(bgr=True, std=(1.0, 1.0, 1.0), placing="top left")

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        table = _table(outputs)
        if table is None or len(table) != len(grid(facts, (8, 16, 32))[0]):
            return False
        columns = table.shape[1]
        if columns > len(table):
            return False
        named = columns == 5 + facts.classes if facts.classes else 6 <= columns != 84
        # YOLOv6 has the same shape, RGB 0..1, and an objectness of 1 everywhere.
        return named and not (table[:, 4] == 1.0).all()

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        table = outputs[0][0].astype(np.float64)
        centres, sizes = table[:, :2], table[:, 2:4]
        cells, strides = grid(facts, (8, 16, 32))
        if np.abs(centres).mean() < 16.0:  # offsets from the cells, not pixels
            centres, sizes = (centres + cells) * strides, np.exp(sizes) * strides
        return Found(corners(centres, sizes), table[:, 5:] * table[:, 4:5])


class Suppressed(Layout):
    """Final boxes: YOLOv10, YOLO26, and files exported with suppression inside."""

    description = "[1, boxes, 6]: corners, score, class (YOLO with suppression inside)"

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        table = _table(outputs)
        if table is None or len(table) > MOST_QUERIES or table.shape[1] < 6:
            return False
        # A class is a whole number; YOLOv5 of one class has its score in that place.
        whole = not np.mod(table[:, 5], 1.0).any()
        more = facts.task in ("segment", "pose", "obb") and len(table) > table.shape[1]
        return whole and (table.shape[1] == 6 or more)

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        table = outputs[0][0].astype(np.float64)
        boxes = table[:, :4]
        if facts.task == "obb":
            boxes = _hull(table[:, :2], table[:, 2:4], table[:, 6:7])
        return Found(boxes, _one_hot(table[:, 5], table[:, 4]), overlapping=False)


class YoloObjectness(Layout):
    """YOLOv5 to v7: centre and size, objectness, classes, then mask coefficients if any."""

    description = "[1, anchors, 5 + classes] (YOLOv5, v7; -seg)"

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        table = _table(outputs)
        if table is None or len(table) < table.shape[1]:
            return False
        classes = table.shape[1] - 5 - _masks(outputs)
        # Boxes of the automatic-ML EfficientDet: image, y, x, height, width, score, class.
        efficient = table.shape[1] == 7 and not (table[:, 0].any() or np.mod(table[:, 6], 1).any())
        # 84 columns without names are YOLOv8's 80 classes, turned.
        fits = classes == facts.classes if facts.classes else classes > 0 and classes != 79
        return fits and not efficient

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        table = outputs[0][0].astype(np.float64)
        scores = table[:, 5 : table.shape[1] - _masks(outputs)] * table[:, 4:5]
        return Found(corners(table[:, :2], table[:, 2:4]), scores)


class Yolo(Layout):
    """YOLOv8 and later: centre and size, classes, then what other tasks than detection add."""

    description = "[1, 4 + classes, anchors] (YOLOv8 and later; -seg, -pose, -obb)"

    def recognises(self, outputs: Sequence[np.ndarray], facts: Facts) -> bool:
        table = _table(outputs)
        if table is None or min(table.shape) < 5:
            return False
        more = self._features(table, facts).shape[1] - 4 - _masks(outputs)
        if not facts.classes:
            return len(table) < table.shape[1] or more == 80
        extra = more - facts.classes
        allowed = {"obb": extra == 1, "pose": extra > 0}
        return allowed.get(facts.task, extra == 0)

    def decode(self, outputs: Sequence[np.ndarray], facts: Facts) -> Found:
        table = self._features(outputs[0][0].astype(np.float64), facts)
        last = 4 + facts.classes if facts.classes else table.shape[1] - _masks(outputs)
        boxes = corners(table[:, :2], table[:, 2:4])
        if facts.task == "obb":
            boxes = _hull(table[:, :2], table[:, 2:4], table[:, last : last + 1])
        return Found(boxes, table[:, 4:last])

    @staticmethod
    def _features(table: np.ndarray, facts: Facts) -> np.ndarray:
        """Return [anchors, features]; some exporters have turned it already."""
        if facts.classes and facts.classes + 4 in table.shape:
            return table if table.shape[1] == facts.classes + 4 else table.T
        return table.T if table.shape[0] < table.shape[1] else table


LAYOUTS: tuple[Layout, ...] = (
    DetrResults(), DetrLogits(), NanoDet(), NanoDetPlus(), Yolox(), DetrTable(), Suppressed(),
    YoloObjectness(), Yolo(),
)  # fmt: skip


def choose_layout(outputs: Sequence[np.ndarray], facts: Facts) -> Layout:
    """Return the layout of the outputs for a grey image.

    Raises:
        ModelError: there is none.
    """
    for layout in LAYOUTS:
        if layout.recognises(outputs, facts):
            return layout
    known = "; ".join(layout.description for layout in LAYOUTS)
    raise ModelError(
        f"expected the outputs of a detector out of these: {known}; found "
        f"{[list(output.shape) for output in outputs]} with {facts.classes or 'no'} class names"
        f"{f' of the task {facts.task!r}' if facts.task else ''}; export one of these families "
        "(EfficientDet, SSD and raw YOLO heads are not read)"
    )
