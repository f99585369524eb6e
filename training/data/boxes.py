"""Annotated objects of a scene: YOLO text files, and what crops make of them.

A line is ``class cx cy width height`` in shares of the image, 0..1. Classes: 0 person, 1 bicycle
or motorcycle, 2 car, truck or bus; others are read and not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.errors import DataError

PERSON, VEHICLE = 0, 2
MOST = 32  # boxes of a crop, the largest ones
NO_CLASS = -1.0


def read_boxes(path: Path) -> np.ndarray:
    """Return float32 n x 5: class, centre x and y, width and height.

    Raises:
        DataError: the file is unreadable or has other lines.
    """
    try:
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        boxes = np.array(rows, np.float32).reshape(len(rows), 5)
        fine = bool(((boxes[:, 1:] >= 0.0) & (boxes[:, 1:] <= 1.0)).all())
    except (OSError, ValueError) as error:
        raise DataError(f"expected YOLO boxes in {path}, found: {error}; correct it") from error
    if not fine:
        raise DataError(f"expected shares of the image (0..1) in {path}, found others; correct it")
    return boxes


def cut_boxes(
    boxes: np.ndarray, shape: tuple[int, ...], window: tuple[int, int, int], flip: bool
) -> np.ndarray:
    """Return the boxes of a crop in shares of it; boxes outside it are left out.

    Args:
        boxes: As `read_boxes` returns them; further columns stay as they are.
        shape: Height and width of the image.
        window: Top, left and side of the square crop, pixels.
        flip: Whether the crop is mirrored.
    """
    (height, width), (top, left, side) = shape[:2], window
    scale = np.array([width, height, width, height], np.float32) / side
    cut = boxes[:, 1:5] * scale - np.array([left, top, 0, 0], np.float32) / side
    if flip:
        cut[:, 0] = 1.0 - cut[:, 0]
    inside = (np.abs(cut[:, :2] - 0.5) < 0.5 + cut[:, 2:] / 2.0).all(1)
    return np.concatenate([boxes[:, :1], cut, boxes[:, 5:]], 1)[inside]


def padded_boxes(boxes: np.ndarray | None) -> np.ndarray:
    """Return float32 `MOST` x 5; rows without a box have class `NO_CLASS`."""
    table = np.zeros((MOST, 5), np.float32)
    table[:, 0] = NO_CLASS
    if boxes is not None:
        kept = boxes[np.argsort(-boxes[:, 3] * boxes[:, 4], kind="stable")[:MOST]]
        table[: len(kept)] = kept
    return table
