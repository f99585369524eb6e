"""Pairs for the demo: the user's own, or a drawn night street."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.detectors.detection import Box
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.image_files import (
    FilePair,
    pairs_in,
    read_thermal,
    read_visible,
    stored_8_bit,
)


class DemoPair(NamedTuple):
    """One moment of both cameras."""

    name: str
    ir: np.ndarray  # uint8 [height, width]
    vis: np.ndarray  # uint8 [height, width, 3], RGB
    people: list[Box] | None  # None where unknown


class DemoPairs:
    """Pairs of one size, in order.

    Args:
        folder: holds `IR/` and `VIS/`; None draws the night street. All pairs get the size of the
            first.
        rate_hz: frames per second of the drawn street.

    Raises:
        FrameError: the folder holds no pairs.
    """

    def __init__(self, folder: str | None = None, rate_hz: float = 30.0) -> None:
        self.files: list[FilePair] = [] if folder is None else pairs_in(folder)
        self.rate_hz = rate_hz
        size = read_visible(self.files[0].vis).shape[:2] if self.files else (480, 640)
        self.height, self.width = size
        self._street = None if self.files else NightStreet(self.width, self.height)

    @property
    def title(self) -> str:
        """The source of the pairs, for people."""
        if self.files:
            return "%d pairs of your own" % len(self.files)
        return "a drawn night street (DEMO_PAIRS=folder with IR/ and VIS/ shows your own)"

    def pair(self, number: int) -> DemoPair:
        """Return frame `number`, from 0; a folder repeats after its last pair."""
        if self._street is not None:
            frame = self._street.frame(number / self.rate_hz)
            return DemoPair("street_%04d" % number, *frame)
        file = self.files[number % len(self.files)]
        vis = cv2.cvtColor(read_visible(file.vis), cv2.COLOR_BGR2RGB)
        ir = stored_8_bit(read_thermal(file.ir))
        if ir.shape != vis.shape[:2]:
            raise FrameError(
                "expected IR and VIS of one size, found %s in %s and %s in %s; register the pairs "
                "first" % (ir.shape, file.ir, vis.shape[:2], file.vis)
            )
        size = (self.width, self.height)
        if (ir.shape[1], ir.shape[0]) != size:
            ir, vis = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (ir, vis))
        return DemoPair(file.stem, ir, vis, None)

    def first(self, count: int) -> Iterator[DemoPair]:
        """Yield `count` pairs: each of a folder at most once, the street's half a second apart."""
        for number in range(min(count, len(self.files)) if self.files else count):
            yield self.pair(number if self.files else int(number * self.rate_hz / 2))
