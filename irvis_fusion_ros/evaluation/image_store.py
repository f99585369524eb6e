"""The images of a report: the worst and the best frames, and a short film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.film import write_gif
from irvis_fusion_core.image_sheet import caption_row
from irvis_fusion_ros.evaluation.tables import writing

if TYPE_CHECKING:
    from irvis_fusion_core.detectors.detection import Detection, Truth

THUMB_WIDTH = 480
FILM_WIDTH = 840
FILM_FRAMES = 36
FILM_RATE_HZ = 10.0
_JPEG_QUALITY = 88


class Shown(NamedTuple):
    """A frame on the page: its scores, and its images as JPEG by row name."""

    value: float
    frame: int
    seconds: float
    scores: dict[str, float]
    images: dict[str, bytes]


class Extremes:
    """Keeps the few best and the few worst frames of a stream.

    Of frames closer together than `apart_s` only the most extreme is kept: they look the same.
    """

    def __init__(self, count: int = 3, apart_s: float = 1.0) -> None:
        """Keep up to `count` frames of each kind."""
        self._count = count
        self._apart_s = apart_s
        self._kept: dict[str, list[Shown]] = {"best": [], "worst": []}

    def wanted(self, value: float, seconds: float) -> bool:
        """Return whether `add` would keep a frame of this value."""
        return any(self._place(kind, value, seconds) is not None for kind in self._kept)

    def add(self, shown: Shown) -> None:
        """Keep the frame if it is among the best or the worst."""
        for kind, kept in self._kept.items():
            place = self._place(kind, shown.value, shown.seconds)
            if place is None:
                continue
            kept[place : place + 1] = [shown]
            kept.sort(key=lambda s: (_order(kind, s.value), s.frame))
            del kept[self._count :]

    def best(self) -> list[Shown]:
        """Return the best frames, best first."""
        return list(self._kept["best"])

    def worst(self) -> list[Shown]:
        """Return the worst frames that are not among the best (in a short bag), worst first."""
        best = {shown.frame for shown in self._kept["best"]}
        return [shown for shown in self._kept["worst"] if shown.frame not in best]

    def _place(self, kind: str, value: float, seconds: float) -> int | None:
        """Return the index to replace, the length for a free place, or None."""
        kept = self._kept[kind]
        order = _order(kind, value)
        for place, other in enumerate(kept):
            if abs(other.seconds - seconds) < self._apart_s:
                return place if order < _order(kind, other.value) else None
        if len(kept) < self._count:
            return len(kept)
        return len(kept) - 1 if order < _order(kind, kept[-1].value) else None


def _order(kind: str, value: float) -> float:
    return -value if kind == "best" else value


class Animation:
    """Collects a short film from the middle of a bag, at about its own speed."""

    def __init__(self, frames: int, rate_hz: float, most: int = FILM_FRAMES) -> None:
        """Take up to `most` images of a bag with `frames` visible frames at `rate_hz`."""
        stride = max(int(round(rate_hz / FILM_RATE_HZ)), 1) if rate_hz > 0 else 1
        self._stride = max(min(stride, frames // max(most, 1)), 1)
        self._begin = max((frames - most * self._stride) // 2, 0)
        self._most = most
        self._period_s = min(max(self._stride / rate_hz, 0.04), 0.5) if rate_hz > 0 else 0.1
        self._images: list[np.ndarray] = []
        self.names: list[str] = []

    def wanted(self, index: int) -> bool:
        """Return whether frame `index` belongs to the film."""
        after = index - self._begin
        return after >= 0 and after % self._stride == 0 and len(self._images) < self._most

    def add(self, images: Mapping[str, np.ndarray]) -> None:
        """Add uint8 RGB or grey images of one moment, side by side under their names."""
        image = caption_row(images, FILM_WIDTH // len(images))
        if not self._images or self._images[0].shape == image.shape:
            self._images.append(image)
            self.names = list(images)

    def write(self, path: str) -> bool:
        """Write the GIF; return False if nothing was collected.

        Raises:
            ReportError: The file cannot be written.
        """
        if self._images:
            with writing(path):
                write_gif(path, self._images, self._period_s)
        return bool(self._images)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return grey HxW as RGB HxWx3, and RGB unchanged."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image


def jpeg(image: np.ndarray, width: int = THUMB_WIDTH) -> bytes:
    """Return a uint8 RGB or grey image as JPEG, reduced to `width` if it is wider."""
    small = as_rgb(image)
    if image.shape[1] > width:
        height = max(int(round(image.shape[0] * width / image.shape[1])), 1)
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def draw_boxes(
    image: np.ndarray, found: Sequence[Detection], truth: Sequence[Truth]
) -> np.ndarray:
    """Return a copy in RGB with detections in yellow and annotated objects in thin white."""
    drawn = np.ascontiguousarray(as_rgb(image)).copy()
    yellow = [(each.box, (255, 214, 10), 2) for each in found]
    for box, colour, thick in [(each.box, (255, 255, 255), 1) for each in truth] + yellow:
        left, top, width, height = (int(round(v)) for v in box)
        cv2.rectangle(drawn, (left, top), (left + width, top + height), colour, thick)
    return drawn
