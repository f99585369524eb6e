"""Pairs of images to calibrate with, as the cameras gave them: of a bag or of two folders.

`irvis_fusion_ros.calibration.live_frames` does the same with topics.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.image_files import match_by_stem, read_thermal, read_visible
from irvis_fusion_core.streams.pairing import Pair, PairNearest
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_ros.bags.bag import BagError, image_topics, read_images
from irvis_fusion_ros.messages.image_messages import (
    ImageMessageError,
    thermal_frame,
    visible_frame,
)


class CalibrationPair(NamedTuple):
    """One moment; images are of their cameras' own sizes."""

    name: str
    ir: np.ndarray  # uint8 HxW
    vis: np.ndarray  # uint8 HxWx3, BGR


def to_8_bits(raw: np.ndarray) -> np.ndarray:
    """A raw thermal image to 8 bits, on its own: neighbours may be minutes away."""
    if raw.dtype == np.uint8:
        return raw
    return ThermalRescale(smoothing_s=0.0)(raw)


def folder_pairs(ir_folder: str, vis_folder: str, most: int) -> List[CalibrationPair]:
    """Pairs of the same file name; `most` of them, spread over the folder.

    Raises:
        FrameError: as `irvis_fusion_core.image_files.match_by_stem`.
    """
    files = match_by_stem(ir_folder, vis_folder)
    return [
        CalibrationPair(file.stem, to_8_bits(read_thermal(file.ir)), read_visible(file.vis))
        for file in _spread(files, most)
    ]


def bag_frames(
    bag: str,
    topics: Tuple[str, str],
    most: int,
    slop_s: float = 0.05,
    ir_time_offset_s: float = 0.0,
) -> List[CalibrationPair]:
    """Up to `most` pairs of a bag, spread over it; frames that cannot be decoded are left out.

    Raises:
        BagError: the bag cannot be read, or holds no pair.
    """
    counts = {topic.name: topic.messages for topic in image_topics(bag)}
    # A pair needs a frame of either, so pairs are at most as many as the fewer are.
    every = max(1, min(counts.get(topic, 0) for topic in topics) // most)
    pairing = PairNearest(slop_s, ir_time_offset_s)
    found: List[CalibrationPair] = []
    number, closest_s, unusable = 0, None, None
    for pair in _matched(bag, topics, pairing):
        if not pair.paired:
            if pair.skew_s is not None and (closest_s is None or abs(pair.skew_s) < closest_s):
                closest_s = abs(pair.skew_s)
            continue
        number += 1
        if (number - 1) % every or len(found) >= most:
            continue
        try:
            found.append(decoded(pair))
        except ImageMessageError as error:
            unusable = error
    if not found:
        why = f"{counts.get(topics[0], 0)} and {counts.get(topics[1], 0)} frames"
        if closest_s is not None:
            why += f", the nearest two {closest_s:.3f} s apart"
        if unusable is not None:
            why += f", that cannot be decoded: {unusable}"
        raise BagError(
            f"expected frames of {topics[0]} and {topics[1]} within {slop_s} s of one another in "
            f"{bag}, found {why}; see `irvis_fusion estimate_time_offset`, --ir-time-offset-s and "
            "--slop-s"
        ) from unusable
    return found


def decoded(pair: Pair) -> CalibrationPair:
    """A pair of messages as images; ImageMessageError where one has none."""
    vis, order = visible_frame(pair.vis)
    if order == "rgb":
        vis = cv2.cvtColor(vis, cv2.COLOR_RGB2BGR)
    ir = to_8_bits(np.ascontiguousarray(thermal_frame(pair.ir)))
    return CalibrationPair(f"{pair.vis_stamp_ns / 1e9:.3f} s", ir, np.ascontiguousarray(vis))


def check_one_rig(pairs: List[CalibrationPair]) -> None:
    """Raise CalibrationError, naming a pair, where sizes differ."""
    first = pairs[0]
    for pair in pairs:
        if pair.ir.shape != first.ir.shape or pair.vis.shape != first.vis.shape:
            raise CalibrationError(
                f"expected pairs of one rig, all of one size, found {_sizes(first)} in "
                f"{first.name} and {_sizes(pair)} in {pair.name}; calibrate them apart"
            )


def _sizes(pair: CalibrationPair) -> str:
    (a, b), (c, d) = pair.ir.shape, pair.vis.shape[:2]
    return f"IR {b}x{a} with visible {d}x{c}"


def _matched(bag: str, topics: Tuple[str, str], pairing: PairNearest) -> Iterator[Pair]:
    for image in read_images(bag, topics):
        add = pairing.add_ir if image.topic == topics[0] else pairing.add_vis
        yield from add(image.stamp_ns, image.message)
    yield from pairing.clear("end")


def _spread(items: list, most: Optional[int]) -> list:
    if not most or len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
