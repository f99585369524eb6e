"""Pairs of images to calibrate with, from a bag or two folders; `live_frames` takes topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from irvis_fusion_core import image_files
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.streams.pairing import Pair
from irvis_fusion_ros.bags.bag import image_topics
from irvis_fusion_ros.bags.bag_pairs import matched_images
from irvis_fusion_ros.bags.bag_storage import OnIncomplete

Item = TypeVar("Item")


class CalibrationPair(NamedTuple):
    """Two images of one moment, each of its camera's own size."""

    name: str
    ir: np.ndarray  # uint8 HxW, rescaled on its own: the next pair may be minutes away
    vis: np.ndarray  # uint8 HxWx3, BGR


def folder_pairs(ir_folder: str, vis_folder: str, most: int) -> list[CalibrationPair]:
    """Return up to `most` pairs of the same file name, spread over the folder.

    Raises:
        FrameError: As `irvis_fusion_core.image_files.match_by_stem`.
    """
    return [
        CalibrationPair(
            file.stem, image_files.read_thermal_8_bit(file.ir), image_files.read_visible(file.vis)
        )
        for file in _spread(image_files.match_by_stem(ir_folder, vis_folder), most)
    ]


def bag_frames(
    bag: str,
    topics: tuple[str, str],
    most: int,
    slop_s: float = 0.05,
    ir_time_offset_s: float = 0.0,
    on_incomplete: OnIncomplete | None = None,
) -> list[CalibrationPair]:
    """Return up to `most` pairs, spread over a bag; leave out frames that cannot be decoded.

    Raises:
        BagError: The bag cannot be read, or has no pair.
    """
    counts = {topic.name: topic.messages for topic in image_topics(bag)}
    # The camera with fewer frames limits the number of pairs.
    every = max(1, min(counts.get(topic, 0) for topic in topics) // most)
    found: list[CalibrationPair] = []
    for pair, ir, vis in matched_images(
        bag, topics, slop_s, ir_time_offset_s, every, on_incomplete
    ):
        if len(found) < most:  # the bag is read to its end, where a cut shows
            found.append(calibration_pair(pair, ir, vis))
    return found


def calibration_pair(pair: Pair, ir: np.ndarray, vis: np.ndarray) -> CalibrationPair:
    """Return a pair of messages with its images as `images_of` gives them."""
    grey = image_files.thermal_to_8_bit(np.ascontiguousarray(ir))
    return CalibrationPair(f"{pair.vis_stamp_ns / 1e9:.3f} s", grey, vis)


def check_one_rig(pairs: Sequence[CalibrationPair]) -> None:
    """Raise CalibrationError, naming a pair, where sizes differ."""
    first = pairs[0]
    for pair in pairs:
        if pair.ir.shape != first.ir.shape or pair.vis.shape != first.vis.shape:
            raise CalibrationError(
                f"expected pairs of one rig, all of one size, found {_sizes(first)} in "
                f"{first.name} and {_sizes(pair)} in {pair.name}; calibrate them separately"
            )


def _sizes(pair: CalibrationPair) -> str:
    (ir_height, ir_width), (vis_height, vis_width) = pair.ir.shape, pair.vis.shape[:2]
    return f"IR {ir_width}x{ir_height} with visible {vis_width}x{vis_height}"


def _spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
