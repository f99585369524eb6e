"""Pair the thermal and visible images of a bag by their stamps."""

from __future__ import annotations

import itertools
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
from irvis_fusion_ros.bags.bag import BagImage, read_images
from irvis_fusion_ros.bags.bag_error import BagError
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError

MOST_PAIRS = 300


def images_of(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return the raw thermal image and the visible one, BGR, of a pair of messages.

    Raises:
        ImageMessageError: One of them cannot be decoded.
    """
    vis, order = image_messages.visible_frame(pair.vis)
    if order == "rgb":
        vis = cv2.cvtColor(vis, cv2.COLOR_RGB2BGR)
    return image_messages.thermal_frame(pair.ir), np.ascontiguousarray(vis)


def matched_images(
    bag: str,
    topics: tuple[str, str],
    slop_s: float,
    ir_time_offset_s: float,
    every: int = 1,
    on_incomplete: OnIncomplete | None = None,
) -> Iterator[tuple[Pair, np.ndarray, np.ndarray]]:
    """Yield pairs of messages of the thermal and the visible topic with their images.

    A message is in one pair at most; of `every` pairs one is decoded. Pairs that cannot be decoded
    are left out. Memory holds what may still pair. Times are those of `PairNearest` of the core;
    `on_incomplete` is that of `read_messages`.

    Raises:
        BagError: The bag cannot be read, or has no pair.
    """
    pairing = PairNearest(slop_s, ir_time_offset_s)
    closest_s, unusable, given = float("inf"), None, 0
    pairs = _outcomes(read_images(bag, topics, on_incomplete), topics[0], pairing)
    paired = itertools.count()
    for pair in pairs:
        if not pair.paired:
            closest_s = min(closest_s, float("inf") if pair.skew_s is None else abs(pair.skew_s))
        elif next(paired) % every == 0:
            try:
                images = images_of(pair)
            except ImageMessageError as error:
                unusable = error
                continue
            yield (pair, *images)
            given += 1
    if given:
        return
    why = f"{pairing.counters.get('ir_in', 0)} and {pairing.counters.get('vis_in', 0)} frames"
    if closest_s < float("inf"):
        why += f", the nearest two {closest_s:.3f} s apart"
    if unusable is not None:
        why += f", and frames that cannot be decoded: {unusable}"
    raise BagError(
        f"expected frames of {topics[0]} and {topics[1]} within {slop_s} s of one another in "
        f"{bag}, found {why}; see `irvis_fusion estimate_time_offset` and --ir-time-offset-s"
    ) from unusable


def _outcomes(images: Iterator[BagImage], ir_topic: str, pairing: PairNearest) -> Iterator[Pair]:
    for topic, stamp_ns, message, _ in images:
        add = pairing.add_ir if topic == ir_topic else pairing.add_vis
        yield from add(stamp_ns, message)
    yield from pairing.clear("end")


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
    on_incomplete: OnIncomplete | None = None,
) -> Iterator[BagPair]:
    """Yield the first `most` pairs of a bag; leave out frames that cannot be decoded.

    Thermal frames are rescaled to 8 bit with limits that follow the stream, and stretched to the
    visible size. For the arguments see `matched_images`.

    Raises:
        BagError: The bag cannot be read, or has no pair.
    """
    rescale, registration = ThermalRescale(), make_registration("resize")
    images = matched_images(bag, topics, slop_s, ir_time_offset_s, 1, on_incomplete)
    for pair, raw, vis in itertools.islice(images, most):
        assert pair.ir_stamp_ns is not None  # the pair has a thermal frame
        grey, _ = registration.warp(rescale(raw, pair.ir_stamp_ns / NS_PER_S), vis.shape[:2])
        yield BagPair(pair.vis_stamp_ns, grey, cv2.cvtColor(vis, cv2.COLOR_BGR2RGB))


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
