"""Markdown tables and rows of labelled crops, as `beyond_maximum` prints and writes them."""

from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

CROP_PX = 160
ZOOM = 2
MOST_CROPS = 6

Column = Tuple[str, str]  # what it is called, and how its numbers are written


class Table(NamedTuple):
    """One table: rows by name, a number for each column, and what was looked at."""

    title: str
    columns: Sequence[Column]
    rows: Dict[str, Sequence[float]]
    note: str

    def markdown(self) -> str:
        """The table as text; a number that does not exist is a dash."""
        lines = [
            f"\n**{self.title}**\n",
            "| | " + " | ".join(name for name, _ in self.columns) + " |",
            "|---|" + "---|" * len(self.columns),
        ]
        for name, values in self.rows.items():
            cells = [
                "–" if isinstance(value, float) and np.isnan(value) else format(value, style)
                for value, (_, style) in zip(values, self.columns)
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join([*lines, "", self.note])


class Scores:
    """Numbers of every fusion on image after image."""

    def __init__(self) -> None:
        self._rows: Dict[str, List[Sequence[float]]] = {}

    def add(self, name: str, values: Sequence[float]) -> None:
        """One image's numbers; NaN where it has none."""
        self._rows.setdefault(name, []).append(values)

    def means(self) -> Dict[str, Sequence[float]]:
        """Fusion -> mean of each column over the images that have it."""
        return {name: _means(np.array(rows, float)) for name, rows in self._rows.items()}


class Crops:
    """The most telling places: what every fusion made of them, side by side."""

    def __init__(self, most: int = MOST_CROPS) -> None:
        self._most = most
        self._kept: List[Tuple[float, str, List[Tuple[str, np.ndarray]]]] = []

    def add(
        self,
        weight: float,
        name: str,
        images: Dict[str, np.ndarray],
        mask: np.ndarray,
        gain: float = 1.0,
    ) -> None:
        """Keep the place of a pair where most of the mask lies, if `weight` is among the largest.

        Args:
            weight: the larger, the more telling.
            images: uint8 HxW or RGB HxWx3 by name.
            mask: bool HxW; its outline is drawn into a copy of the first image.
            gain: contrast is stretched so much about each crop's own mean.
        """
        window = _densest(mask)
        first = next(iter(images))
        outlined = _colour(images[first]).copy()
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(outlined, contours, -1, (255, 0, 0), 1)
        row = [("where", outlined[window])]
        for label, image in images.items():
            crop = _colour(image)[window].astype(np.float32)
            if gain != 1.0:
                crop = (crop - crop.mean()) * gain + 128
            row.append((label, np.clip(crop, 0, 255).astype(np.uint8)))
        self.add_row(weight, name, row)

    def add_row(self, weight: float, name: str, row: List[Tuple[str, np.ndarray]]) -> None:
        """Keep labelled images (uint8 RGB or grey) of one height, likewise."""
        self._kept.append((weight, name, row))
        self._kept.sort(key=lambda each: -each[0])
        del self._kept[self._most :]

    def write(self, path: Path) -> bool:
        """Write the rows below each other, most telling first; False where there are none."""
        if not self._kept:
            return False
        strips = [
            np.hstack([_labelled(label, image) for label, image in row])
            for _, _, row in self._kept
        ]
        width = max(strip.shape[1] for strip in strips)
        blocks = []
        for (_, name, _), strip in zip(self._kept, strips):
            title = np.full((20, width, 3), 40, np.uint8)
            cv2.putText(title, name, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 1)
            right = width - strip.shape[1]
            blocks += [title, cv2.copyMakeBorder(strip, 0, 0, 0, right, cv2.BORDER_CONSTANT)]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), np.vstack(blocks)[..., ::-1]):
            raise SystemExit(f"{path} cannot be written")
        return True


def counted(pairs: Sequence[str]) -> str:
    """How many of the named pairs (SET/NAME) each set has, as text."""
    sets = Counter(name.rpartition("/")[0] for name in pairs)
    return ", ".join(f"{count} of {name}" for name, count in sets.items()) or "none"


def _means(rows: np.ndarray) -> List[float]:
    there = ~np.isnan(rows)
    sums, counts = np.where(there, rows, 0.0).sum(axis=0), there.sum(axis=0)
    return [float(s / c) if c else float("nan") for s, c in zip(sums, counts)]


def _densest(mask: np.ndarray) -> Tuple[slice, slice]:
    """The window of CROP_PX within the image that has most of the mask."""
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


def _labelled(label: str, image: np.ndarray) -> np.ndarray:
    large = cv2.resize(_colour(image), None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    cv2.putText(large, label, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3)
    cv2.putText(large, label, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
    return large
