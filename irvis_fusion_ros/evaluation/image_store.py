"""The images of a report: the worst and the best frames, and a short animation."""

from __future__ import annotations

import base64
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from irvis_fusion_core.gif import encode_gif
from irvis_fusion_ros.evaluation.tables import unwritable

THUMB_WIDTH = 480
GIF_WIDTH = 840
GIF_FRAMES = 36
GIF_RATE_HZ = 10.0
_JPEG_QUALITY = 88


class Shown(NamedTuple):
    """A frame that is shown: what it scored, and its images as JPEG by row name."""

    value: float
    frame: int
    seconds: float
    scores: Dict[str, float]
    images: Dict[str, bytes]


class Extremes:
    """Keeps the few best and the few worst frames of a stream, never two of one moment.

    Frames closer together than `apart_s` show the same: of those only the most extreme stays.
    Memory holds `count` frames of each kind.
    """

    def __init__(self, count: int = 3, apart_s: float = 1.0) -> None:
        """Keep `count` at either end, at least `apart_s` from one another."""
        self._count = count
        self._apart_s = apart_s
        self._kept: Dict[str, List[Shown]] = {"best": [], "worst": []}

    def wanted(self, value: float, seconds: float) -> bool:
        """Whether `add` would keep a frame of this value (its images need not be made else)."""
        return any(self._place(kind, value, seconds) is not None for kind in self._kept)

    def add(self, shown: Shown) -> None:
        """Keep the frame where it is among the best or the worst."""
        for kind, kept in self._kept.items():
            place = self._place(kind, shown.value, shown.seconds)
            if place is None:
                continue
            if place < len(kept):
                kept[place] = shown
            else:
                kept.append(shown)
            kept.sort(key=lambda s: (self._order(kind, s.value), s.frame))
            del kept[self._count :]

    def best(self) -> List[Shown]:
        """The best first; those that are also among the worst (a short bag) are left out there."""
        return list(self._kept["best"])

    def worst(self) -> List[Shown]:
        """The worst first."""
        best = {shown.frame for shown in self._kept["best"]}
        return [shown for shown in self._kept["worst"] if shown.frame not in best]

    def _order(self, kind: str, value: float) -> float:
        return -value if kind == "best" else value

    def _place(self, kind: str, value: float, seconds: float) -> Optional[int]:
        """Which of the kept it replaces, their number for a free place, None for neither."""
        kept = self._kept[kind]
        order = self._order(kind, value)
        for place, other in enumerate(kept):
            if abs(other.seconds - seconds) < self._apart_s:
                return place if order < self._order(kind, other.value) else None
        if len(kept) < self._count:
            return len(kept)
        return len(kept) - 1 if order < self._order(kind, kept[-1].value) else None


class Animation:
    """Collects a short piece from the middle of a bag, in about its own time."""

    def __init__(self, frames: int, rate_hz: float, most: int = GIF_FRAMES) -> None:
        """Take `most` images of a bag that has `frames` visible ones at `rate_hz`."""
        self._stride = max(int(round(rate_hz / GIF_RATE_HZ)), 1) if rate_hz > 0 else 1
        self._stride = max(min(self._stride, frames // max(most, 1)), 1)
        self._begin = max((frames - most * self._stride) // 2, 0)
        self._most = most
        self._period_s = min(max(self._stride / rate_hz, 0.04), 0.5) if rate_hz > 0 else 0.1
        self._images: List[np.ndarray] = []
        self.names: List[str] = []

    def wanted(self, index: int) -> bool:
        """Whether frame `index` belongs to the piece."""
        after = index - self._begin
        return after >= 0 and after % self._stride == 0 and len(self._images) < self._most

    def add(self, images: Dict[str, np.ndarray]) -> None:
        """Put RGB or grey images of one size side by side, under their names."""
        image = side_by_side(images, GIF_WIDTH)
        if not self._images or self._images[0].shape == image.shape:
            self._images.append(image)
            self.names = list(images)

    def write(self, path: str) -> bool:
        """Write the GIF; False where nothing was collected.

        Raises:
            ReportError: it cannot be written.
        """
        if not self._images:
            return False
        write_bytes(path, encode_gif(self._images, self._period_s))
        return True


def side_by_side(images: Dict[str, np.ndarray], width: int) -> np.ndarray:
    """One RGB image of about `width`: the given ones in a row, each under its name."""
    gap, band = 4, 22
    each = (width - gap * (len(images) - 1)) // len(images)
    columns = []
    for name, image in images.items():
        small = shrink(as_rgb(image), each)
        column = np.full((small.shape[0] + band, each, 3), 255, np.uint8)
        column[band:, : small.shape[1]] = small
        cv2.putText(
            column, name[: each // 9], (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (40, 40, 40), 1,
            cv2.LINE_AA,
        )  # fmt: skip
        columns += [column, np.full((column.shape[0], gap, 3), 255, np.uint8)]
    return np.ascontiguousarray(np.hstack(columns[:-1]))


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """The image at this width, its proportions kept; smaller ones are enlarged without blur."""
    height = max(int(round(image.shape[0] * width / image.shape[1])), 1)
    if image.shape[1] == width:
        return image
    way = cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_NEAREST
    return cv2.resize(image, (width, height), interpolation=way)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Grey HxW as RGB HxWx3; RGB as it is."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image


def jpeg(image: np.ndarray, width: int = THUMB_WIDTH) -> bytes:
    """A thumbnail of a uint8 RGB or grey image, never larger than the image."""
    small = shrink(as_rgb(image), min(width, image.shape[1]))
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def draw_boxes(image: np.ndarray, found: Sequence[Any], truth: Sequence[Any]) -> np.ndarray:
    """A copy (RGB) with finds in yellow and annotated objects in thin white."""
    drawn = np.ascontiguousarray(as_rgb(image)).copy()
    for things, colour, thick in ((truth, (255, 255, 255), 1), (found, (255, 214, 10), 2)):
        for thing in things:
            left, top, width, height = (int(round(v)) for v in thing.box)
            cv2.rectangle(drawn, (left, top), (left + width, top + height), colour, thick)
    return drawn


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a page carries them within itself; `kind` is a MIME type."""
    return f"data:{kind};base64," + base64.b64encode(data).decode("ascii")


def write_bytes(path: str, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        ReportError: it cannot be written.
    """
    partial = path + ".partial"
    try:
        with open(partial, "wb") as stream:
            stream.write(data)
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
