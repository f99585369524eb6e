"""Pair the thermal and visible images of a bag by their stamps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration import make_registration
from irvis_fusion_core.streams.pairing import Pair, PairNearest
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_ros.bags.bag import read_images
from irvis_fusion_ros.bags.bag_error import BagError
from irvis_fusion_ros.messages.image_messages import (
    ImageMessageError,
    thermal_frame,
    visible_frame,
)

MOST_PAIRS = 300


class MatchedMessages:
    """Pairs of messages of two topics, each in one pair at most; see `PairNearest`.

    Args:
        topics: Thermal and visible.
        slop_s, ir_time_offset_s: Those of `irvis_fusion_core.streams.pairing.PairNearest`.

    Attributes:
        unusable: The caller's last decoding error, named when no pair is left.
    """

    def __init__(
        self, bag: str, topics: tuple[str, str], slop_s: float, ir_time_offset_s: float
    ) -> None:
        """Read nothing yet."""
        self._bag, self._topics, self._slop_s = bag, topics, slop_s
        self._pairing = PairNearest(slop_s, ir_time_offset_s)
        self._closest_s: float | None = None
        self.unusable: ImageMessageError | None = None

    def __iter__(self) -> Iterator[Pair]:
        """Yield the pairs; memory holds what may still pair.

        Raises:
            BagError: The bag cannot be read.
        """
        for pair in self._outcomes():
            if pair.paired:
                yield pair
            elif pair.skew_s is not None:
                skews_s = [abs(s) for s in (pair.skew_s, self._closest_s) if s is not None]
                self._closest_s = min(skews_s)

    def no_pairs(self) -> BagError:
        """Return the error that says why there are no pairs."""
        counts = self._pairing.counters
        why = f"{counts.get('ir_in', 0)} and {counts.get('vis_in', 0)} frames"
        if self._closest_s is not None:
            why += f", the nearest two {self._closest_s:.3f} s apart"
        if self.unusable is not None:
            why += f", and frames that cannot be decoded: {self.unusable}"
        return BagError(
            f"expected frames of {self._topics[0]} and {self._topics[1]} within {self._slop_s} s "
            f"of one another in {self._bag}, found {why}; see `irvis_fusion estimate_time_offset` "
            "and --ir-time-offset-s"
        )

    def _outcomes(self) -> Iterator[Pair]:
        for topic, stamp_ns, message in read_images(self._bag, self._topics):
            add = self._pairing.add_ir if topic == self._topics[0] else self._pairing.add_vis
            yield from add(stamp_ns, message)
        yield from self._pairing.clear("end")


class BagPair(NamedTuple):
    """Two frames of one moment and one size."""

    stamp_ns: int  # of the visible frame
    ir: np.ndarray  # uint8 [height, width]
    vis: np.ndarray  # uint8 [height, width, 3], RGB


def bag_pairs(
    bag: str,
    topics: tuple[str, str],
    most: int = MOST_PAIRS,
    slop_s: float = 0.05,
    ir_time_offset_s: float = 0.0,
) -> Iterator[BagPair]:
    """Yield the first `most` pairs of a bag; leave out frames that cannot be decoded.

    Thermal frames are rescaled to 8 bit with limits that follow the stream, and stretched to the
    visible size. For the arguments see `MatchedMessages`.

    Raises:
        BagError: The bag cannot be read, or has no pair.
    """
    matched = MatchedMessages(bag, topics, slop_s, ir_time_offset_s)
    rescale, registration = ThermalRescale(), make_registration("resize")
    given = 0
    for pair in matched:
        try:
            raw = thermal_frame(pair.ir)
            vis, order = visible_frame(pair.vis)
        except ImageMessageError as error:
            matched.unusable = error
            continue
        assert pair.ir_stamp_ns is not None  # the pair has a thermal frame
        grey, _ = registration.warp(rescale(raw, pair.ir_stamp_ns / NS_PER_S), vis.shape[:2])
        vis = cv2.cvtColor(vis, cv2.COLOR_BGR2RGB) if order == "bgr" else vis
        yield BagPair(pair.vis_stamp_ns, grey, np.ascontiguousarray(vis))
        given += 1
        if given == most:
            return
    if not given:
        raise matched.no_pairs() from matched.unusable


def write_pairs(pairs: Iterator[BagPair], folder: str) -> int:
    """Write pairs into `IR/` and `VIS/` of a folder, named by number; return their number.

    All are resized to the first pair's size.
    """
    count, size = 0, None
    for count, pair in enumerate(pairs, 1):
        size = size or pair.ir.shape[::-1]
        for name, image in (("IR", pair.ir), ("VIS", pair.vis[..., ::-1])):
            if image.shape[1::-1] != size:
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            path = os.path.join(folder, name, f"bag_{count:04d}.png")
            write_image(path, np.ascontiguousarray(image))
    return count
