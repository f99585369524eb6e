"""The images of a report: the worst and the best frames, and a short film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.detectors.detection import Detection, Truth
from irvis_fusion_core.film import write_gif
from irvis_fusion_core.image_sheet import caption_row
from irvis_fusion_ros.evaluation.tables import writing

THUMB_WIDTH = 480
FILM_WIDTH = 840
FILM_FRAMES = 36
FILM_RATE_HZ = 10.0
_JPEG_QUALITY = 88


class Shown(NamedTuple):
    """A frame on the page: why it is shown, and its images as JPEG by row name."""

    value: float
    frame: int
    seconds: float
    scores: Mapping[str, float]
    images: Mapping[str, bytes]


class TopFrames:
    """Keeps the few frames of a stream with the highest values."""

    def __init__(self, count: int, apart_s: float) -> None:
        """Keep up to `count` frames; only the highest of those closer together than `apart_s`."""
        self._count, self._apart_s = count, apart_s
        self._kept: list[Shown] = []

    def wants(self, value: float, seconds: float) -> bool:
        """Return whether `add` would keep a frame of this value."""
        return self._place(value, seconds) is not None

    def add(self, shown: Shown) -> None:
        """Keep the frame if it is among the highest."""
        place = self._place(shown.value, shown.seconds)
        if place is not None:
            self._kept[place : place + 1] = [shown]
            self._kept.sort(key=lambda s: (-s.value, s.frame))

    def frames(self) -> list[Shown]:
        """Return the kept frames, highest first."""
        return list(self._kept)

    def _place(self, value: float, seconds: float) -> int | None:
        """Return the index to replace, the length for a free place, or None."""
        for place, other in enumerate(self._kept):
            if abs(other.seconds - seconds) < self._apart_s:
                return place if value > other.value else None
        if len(self._kept) < self._count:
            return len(self._kept)
        return self._count - 1 if value > self._kept[-1].value else None


class Extremes:
    """Keeps the best and the worst frames of a stream."""

    def __init__(self, count: int = 3, apart_s: float = 1.0) -> None:
        """Keep up to `count` frames of each kind; see `TopFrames`."""
        self._best, self._worst = TopFrames(count, apart_s), TopFrames(count, apart_s)

    def wants(self, value: float, seconds: float) -> bool:
        """Return whether `add` would keep a frame of this value."""
        return self._best.wants(value, seconds) or self._worst.wants(-value, seconds)

    def add(self, shown: Shown) -> None:
        """Keep the frame if it is among the best or the worst."""
        self._best.add(shown)
        self._worst.add(shown._replace(value=-shown.value))

    def best(self) -> list[Shown]:
        """Return the best frames, best first."""
        return self._best.frames()

    def worst(self) -> list[Shown]:
        """Return the worst frames that are not among the best (in a short bag), worst first."""
        best = {shown.frame for shown in self.best()}
        worst = self._worst.frames()
        return [s._replace(value=-s.value) for s in worst if s.frame not in best]


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
            FusionError: The file cannot be written.
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
