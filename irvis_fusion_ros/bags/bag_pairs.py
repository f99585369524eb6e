"""Pairs of images out of a bag: which two topics, which frames belong together, which size."""

from __future__ import annotations

import os
import re
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration import make_registration
from irvis_fusion_core.streams.pairing import PairNearest
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_ros.bags.bag import (
    NS_PER_S,
    BagError,
    ImageTopic,
    all_topics,
    image_topics,
    list_topics,
    read_images,
)
from irvis_fusion_ros.messages.image_messages import (
    ImageMessageError,
    is_compressed,
    thermal_frame,
    visible_frame,
)

MOST_PAIRS = 300
IR_WORDS = {"ir", "infrared", "infra", "thermal", "lwir", "mwir", "flir", "boson", "lepton"}
VIS_WORDS = {"vis", "visible", "rgb", "bgr", "color", "colour", "eo"}
OTHER_WORDS = {"depth", "disparity", "confidence", "mask", "fused", "fusion", "costmap"}
# Thermal cameras send counts or degrees; colour comes from a visible camera unless a name says
# otherwise. mono8 may be either.
IR_ENCODINGS = {"mono16", "16UC1", "32FC1"}
VIS_ENCODINGS = re.compile(r"(rgba?|bgra?)(8|16)$|bayer_|yuv|uyvy|yuyv|nv\d\d|8UC[34]$")


class BagPair(NamedTuple):
    """Two frames that belong together, of one size."""

    stamp_ns: int  # of the visible frame
    ir: np.ndarray  # uint8 [height, width]
    vis: np.ndarray  # uint8 [height, width, 3], RGB


def choose_topics(
    bag: str, ir_topic: Optional[str] = None, vis_topic: Optional[str] = None
) -> Tuple[str, str]:
    """The thermal and the visible topic of a bag: as given, else by name, else by encoding.

    Raises:
        BagError: the bag has no such topics, or it cannot be told which they are.
    """
    topics = image_topics(bag)
    for given in (ir_topic, vis_topic):
        if given and given not in [t.name for t in topics]:
            raise BagError(
                f"expected an image topic {given!r} in {bag}, found "
                f"{list_topics(topics, all_topics(bag))}"
            )
    if ir_topic and ir_topic == vis_topic:
        raise BagError(f"expected two topics, found {ir_topic!r} as both thermal and visible")
    names = [n for n in _candidates(topics) if n not in (ir_topic, vis_topic)]
    kinds = {name: kind_by_name(name) for name in names}
    for name in names:
        if not kinds[name]:
            kinds[name] = _kind_by_encoding(bag, name)
    ir = ir_topic or _only(names, lambda n: kinds[n] == "ir")
    vis = vis_topic or _only(names, lambda n: kinds[n] == "vis")
    # Of two cameras, one is known: the other one is the other one.
    ir = ir or (_only(names, lambda n: n != vis and not kinds[n]) if vis else None)
    vis = vis or (_only(names, lambda n: n != ir and not kinds[n]) if ir else None)
    if not ir or not vis:
        missing = " and ".join(
            name for name, topic in (("thermal", ir), ("visible", vis)) if not topic
        )
        raise BagError(
            f"cannot tell the {missing} topic of {bag}, found {list_topics(topics)}; name them in "
            "DEMO_IR_TOPIC and DEMO_VIS_TOPIC (--ir-topic, --vis-topic)"
        )
    return ir, vis


def kind_by_name(topic: str) -> str:
    """'ir', 'vis', 'other' (no camera's image) or '' by the last telling word of a topic.

    >>> kind_by_name("/flir/visible/image_raw")
    'vis'
    """
    parts = topic.lower().strip("/").split("/")
    words = [w for part in parts for w in re.findall("[a-z]+", part)]
    if OTHER_WORDS.intersection(words):
        return "other"
    # image_color is a manner of transport, also of false colour: the camera's name goes first.
    camera = [
        w for part in parts if not part.startswith("image") for w in re.findall("[a-z]+", part)
    ]
    for word in camera[::-1] + words[::-1]:
        if word in IR_WORDS:
            return "ir"
        if word in VIS_WORDS:
            return "vis"
    return ""


def bag_pairs(
    bag: str,
    topics: Tuple[str, str],
    most: int = MOST_PAIRS,
    slop_s: float = 0.05,
    ir_time_offset_s: float = 0.0,
) -> Iterator[BagPair]:
    """The first `most` pairs of a bag, each frame in one pair at most.

    Thermal frames are rescaled to 8 bit with limits that follow the stream, and stretched to the
    visible size. Frames that cannot be decoded are left out. Memory holds what may still pair.

    Args:
        topics: thermal and visible.
        slop_s, ir_time_offset_s: as of `irvis_fusion_core.streams.pairing.PairNearest`.

    Raises:
        BagError: the bag cannot be read, or has not one pair.
    """
    pairing = PairNearest(slop_s, ir_time_offset_s)
    rescale, registration = ThermalRescale(), make_registration("resize")
    given, closest_s, unusable = 0, None, None
    for pair in _matched(bag, topics, pairing):
        if not pair.paired:
            skews_s = [abs(s) for s in (closest_s, pair.skew_s) if s is not None]
            closest_s = min(skews_s) if skews_s else None
            continue
        try:
            raw = thermal_frame(pair.ir)
            vis, order = visible_frame(pair.vis)
        except ImageMessageError as error:
            unusable = error
            continue
        grey, _ = registration.warp(rescale(raw, pair.ir_stamp_ns / NS_PER_S), vis.shape[:2])
        vis = cv2.cvtColor(vis, cv2.COLOR_BGR2RGB) if order == "bgr" else vis
        yield BagPair(pair.vis_stamp_ns, grey, np.ascontiguousarray(vis))
        given += 1
        if given == most:
            return
    if not given:
        counts = pairing.counters
        why = f"{counts.get('ir_in', 0)} and {counts.get('vis_in', 0)} frames"
        if closest_s is not None:
            why += f", the nearest two {closest_s:.3f} s apart (see --ir-time-offset-s)"
        if unusable is not None:
            why += f", and frames that cannot be decoded: {unusable}"
        raise BagError(
            f"expected frames of {topics[0]} and {topics[1]} within {slop_s} s of one another in "
            f"{bag}, found {why}"
        ) from unusable


def write_pairs(pairs: Iterator[BagPair], folder: str) -> int:
    """Write pairs into `IR/` and `VIS/` of a folder, named by number; returns how many.

    All become of the first pair's size.
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


def _matched(bag: str, topics: Tuple[str, str], pairing: PairNearest) -> Iterator:
    for topic, stamp_ns, message in read_images(bag, topics):
        add = pairing.add_ir if topic == topics[0] else pairing.add_vis
        yield from add(stamp_ns, message)
    yield from pairing.clear("end")


def _candidates(topics: List[ImageTopic]) -> List[str]:
    """Names of topics with messages that may be a camera's; of a camera's transports the raw."""
    names = [t.name for t in topics if t.messages and kind_by_name(t.name) != "other"]
    return [n for n in names if not (n.endswith("/compressed") and n[:-11] in names)]


def _kind_by_encoding(bag: str, topic: str) -> str:
    for _, _, message in read_images(bag, [topic]):
        encoding = message.format.split(";")[0] if is_compressed(message) else message.encoding
        if encoding.strip() in IR_ENCODINGS:
            return "ir"
        return "vis" if VIS_ENCODINGS.match(encoding.strip()) else ""
    return ""


def _only(names: List[str], wanted: Callable[[str], bool]) -> Optional[str]:
    fitting = [name for name in names if wanted(name)]
    return fitting[0] if len(fitting) == 1 else None
