"""Find the cameras' topics in a bag: as given, else by name, else by encoding."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags import bag as bags
from irvis_fusion_ros.bags.bag_error import BagError, IncompleteBagError
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic

IR_WORDS = {"ir", "infrared", "infra", "thermal", "lwir", "mwir", "flir", "boson", "lepton"}
VIS_WORDS = {"vis", "visible", "rgb", "bgr", "color", "colour", "eo"}
OTHER_WORDS = {"depth", "disparity", "confidence", "mask", "fused", "fusion", "costmap"}
# Thermal cameras send counts or degrees; colour comes from a visible camera unless a name says
# otherwise. mono8 may be either.
IR_ENCODINGS = {"mono16", "16UC1", "32FC1"}
VIS_ENCODINGS = re.compile(r"(rgba?|bgra?)(8|16)$|bayer_|yuv|uyvy|yuyv|nv\d\d|8UC[34]$")
_NAME = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


class FusionTopics(NamedTuple):
    """The cameras' image topics, raw or compressed, and their calibrations where recorded."""

    ir: str
    vis: str
    vis_info: str | None = None
    ir_info: str | None = None
    tf_static: str | None = None


def add_bag_argument(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the BAG of a command; of `several` the option is a list."""
    text = "a bag's folder, or its .db3 or .mcap file"
    more: dict[str, Any] = {"nargs": "+"} if several else {}
    parser.add_argument("bag", metavar="BAG", help=text, **more)
    add_partial_option(parser)


def add_partial_option(parser: argparse._ActionsContainer) -> None:
    """Add the option for `on_incomplete`."""
    text = "go on with what can be read of an incomplete bag, with a warning (default: an error,"
    text += " exit status 2)"
    parser.add_argument("--allow-partial", action="store_true", help=text)


def on_incomplete(options: argparse.Namespace) -> OnIncomplete | None:
    """Return what `read_messages` does about missing messages: warn on stderr, or None."""

    @functools.lru_cache(None)  # a bag may be read several times
    def warn(text: str) -> None:
        print(f"warning: {text}", file=sys.stderr)

    def go_on(error: IncompleteBagError) -> None:
        warn(str(error))

    return go_on if options.allow_partial else None


def add_topic_options(parser: argparse._ActionsContainer) -> None:
    """Add the options for the arguments of `choose_topics`."""
    parser.add_argument("--ir-topic", metavar="TOPIC", help="thermal images (default: guessed)")
    parser.add_argument("--vis-topic", metavar="TOPIC", help="visible images (default: guessed)")


def find_topics(
    bag: str, ir_topic: str | None = None, vis_topic: str | None = None
) -> FusionTopics:
    """Return the topics of `choose_topics`, with the `camera_info` in their namespaces."""
    ir, vis = choose_topics(bag, ir_topic, vis_topic)
    topics = bags.all_topics(bag)
    infos = {topic.name for topic in topics if topic.type == bags.CAMERA_INFO_TYPE}
    tf_static = "/tf_static" if ("/tf_static", bags.TF_TYPE) in [t[:2] for t in topics] else None
    return FusionTopics(ir, vis, _info_of(vis, infos), _info_of(ir, infos), tf_static)


def choose_topics(
    bag: str, ir_topic: str | None = None, vis_topic: str | None = None
) -> tuple[str, str]:
    """Return the thermal and the visible image topic of a bag.

    Raises:
        BagError: The bag has no such topics, or they cannot be told apart.
    """
    topics = bags.all_topics(bag)
    images = {topic.name for topic in topics if topic.type in bags.IMAGE_TYPES}
    for given in (ir_topic, vis_topic):
        if given and given not in images:
            raise BagError(
                f"expected an image topic {given!r} in {bag}, found {bags.list_topics(topics)}"
            )
    if ir_topic and ir_topic == vis_topic:
        raise BagError(f"expected two topics, found {ir_topic!r} as both thermal and visible")
    names = [n for n in _candidates(topics) if n not in (ir_topic, vis_topic)]
    kinds = {name: kind_by_name(name) or _kind_by_encoding(bag, name) for name in names}
    ir = ir_topic or _only(names, lambda n: kinds[n] == "ir")
    vis = vis_topic or _only(names, lambda n: kinds[n] == "vis")
    # One of two cameras is known: the remaining topic belongs to the other.
    ir = ir or (_only(names, lambda n: n != vis and not kinds[n]) if vis else None)
    vis = vis or (_only(names, lambda n: n != ir and not kinds[n]) if ir else None)
    if ir and vis:
        return ir, vis
    missing = " and ".join(k for k, topic in (("thermal", ir), ("visible", vis)) if not topic)
    there = [topic for topic in topics if topic.type in bags.IMAGE_TYPES]
    advice = "; name them in DEMO_IR_TOPIC and DEMO_VIS_TOPIC (--ir-topic, --vis-topic)"
    raise BagError(
        f"cannot tell the {missing} topic of {bag}, found {bags.list_topics(there)}"
        + (advice if there else "")
    )


def kind_by_name(topic: str) -> str:
    """Return "ir", "vis", "other" (no camera's image) or "" by the last telling word of a topic.

    >>> kind_by_name("/flir/visible/image_raw")
    'vis'
    """
    words = re.findall("[a-z]+", topic.lower())
    if OTHER_WORDS.intersection(words):
        return "other"
    # image_color names a transport, also of false colour: the camera's name decides first.
    camera = re.findall("[a-z]+", re.sub("(^|/)image[^/]*", "", topic.lower()))
    for word in camera[::-1] + words[::-1]:
        if word in IR_WORDS:
            return "ir"
        if word in VIS_WORDS:
            return "vis"
    return ""


def topic_name(text: str) -> str:
    """Return the absolute name of a topic.

    Raises:
        ConfigurationError: ROS 2 does not allow the name.
    """
    name = "/" + text.strip().strip("/")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "expected a topic's name: letters, digits and _, not a digit first, with / between, "
            f"found {text!r}"
        )
    return name


def _info_of(topic: str, infos: set[str]) -> str | None:
    # /camera/camera_info for /camera/image_raw and for /camera/image_raw/compressed
    name = re.sub("/[^/]*(/compressed(Depth)?)?$", "/camera_info", topic)
    return name if name in infos else None


def _candidates(topics: Sequence[StoredTopic]) -> list[str]:
    """Return the image topics that may be a camera's; the raw one of a camera's transports."""
    images = [topic for topic in topics if topic.type in bags.IMAGE_TYPES and topic.messages]
    names = [topic.name for topic in images if kind_by_name(topic.name) != "other"]
    return [n for n in names if not (n.endswith("/compressed") and n[:-11] in names)]


def _kind_by_encoding(bag: str, topic: str) -> str:
    for image in bags.read_images(bag, [topic]):
        text = getattr(image.message, "encoding", "") or getattr(image.message, "format", "")
        encoding = text.split(";")[0].strip()
        if encoding in IR_ENCODINGS:
            return "ir"
        return "vis" if VIS_ENCODINGS.match(encoding) else ""
    return ""


def _only(names: Sequence[str], wanted: Callable[[str], bool]) -> str | None:
    fitting = [name for name in names if wanted(name)]
    return fitting[0] if len(fitting) == 1 else None
