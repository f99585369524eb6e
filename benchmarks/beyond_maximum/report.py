"""Tables and rows of captioned crops, as `beyond_maximum` prints and writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.image_sheet import caption_row, stack_rows
from training.tables import markdown_table

CROP_PX = 160
ZOOM = 2


class Table(NamedTuple):
    """One table: rows by name, a number for each column, and a note on the images."""

    title: str
    columns: Mapping[str, str]  # heading -> format of the numbers
    rows: Mapping[str, Sequence[Any]]
    note: str

    def markdown(self) -> str:
        """Return the table as text."""
        table = markdown_table(list(self.columns), self.rows, list(self.columns.values()))
        return f"\n**{self.title}**\n\n{table}\n\n{self.note}"


class Crops:
    """The most telling places, as every fusion shows them, side by side."""

    def __init__(self, most: int = 6) -> None:
        self._most = most
        self._kept: list[tuple[float, str, Mapping[str, np.ndarray]]] = []

    def add(
        self,
        weight: float,
        name: str,
        images: Mapping[str, np.ndarray],
        mask: np.ndarray,
        gain: float = 1.0,
    ) -> None:
        """Keep the place of a pair where most of the mask lies, if `weight` is among the largest.

        Args:
            images: uint8 HxW or RGB HxWx3 by name.
            mask: bool HxW; its outline is drawn into a copy of the first image.
            gain: Contrast is stretched this much about each crop's own mean.
        """
        window = _densest(mask)
        outlined = _colour(next(iter(images.values()))).copy()
        how = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        contours, _ = cv2.findContours(mask.astype(np.uint8), *how)
        cv2.drawContours(outlined, contours, -1, (255, 0, 0), 1)
        row = {"where": outlined[window]}
        for label, image in images.items():
            crop = _colour(image)[window].astype(np.float32)
            if gain != 1.0:
                crop = (crop - crop.mean()) * gain + 128
            row[label] = np.clip(crop, 0, 255).astype(np.uint8)
        self.add_row(weight, name, row)

    def add_row(self, weight: float, name: str, row: Mapping[str, np.ndarray]) -> None:
        """Keep images (uint8 RGB or grey, of one height, by caption) in the same way."""
        self._kept.append((weight, name, row))
        self._kept.sort(key=lambda each: -each[0])
        del self._kept[self._most :]

    def write(self, path: Path) -> bool:
        """Write the rows below each other, most telling first; False where there are none."""
        if not self._kept:
            return False
        rows = []
        for _, name, images in self._kept:
            row = caption_row({k: v.repeat(ZOOM, 0).repeat(ZOOM, 1) for k, v in images.items()})
            rows += [caption_row({name: np.full((1, row.shape[1]), 255, np.uint8)}), row]
        write_image(str(path), stack_rows(rows)[..., ::-1])
        return True


def counted(pairs: Sequence[str]) -> str:
    """Return how many of the named pairs (SET/NAME) each set has, as text."""
    sets = Counter(name.rpartition("/")[0] for name in pairs)
    return ", ".join(f"{count} of {name}" for name, count in sets.items()) or "none"


def _densest(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the window of CROP_PX within the image that has most of the mask."""
    height, width = (min(side, CROP_PX) for side in mask.shape)
    density = cv2.boxFilter(
        mask.astype(np.float32), -1, (width, height), borderType=cv2.BORDER_CONSTANT
    )
    row, column = np.unravel_index(int(density.argmax()), density.shape)
    top = int(np.clip(row - height // 2, 0, mask.shape[0] - height))
    left = int(np.clip(column - width // 2, 0, mask.shape[1] - width))
    return slice(top, top + height), slice(left, left + width)


def _colour(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.dstack([image] * 3)
