"""Which topics of a bag are the cameras', as the node would be remapped to them."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.bag import CAMERA_INFO_TYPE, TF_TYPE, all_topics
from irvis_fusion_ros.bags.bag_pairs import choose_topics

_NAME = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


class FusionTopics(NamedTuple):
    """The cameras' topics, raw or compressed, and what tells of the cameras where recorded."""

    ir: str
    vis: str
    vis_info: Optional[str] = None
    ir_info: Optional[str] = None
    tf_static: Optional[str] = None


def find_topics(
    bag: str, ir_topic: Optional[str] = None, vis_topic: Optional[str] = None
) -> FusionTopics:
    """The topics as given, else by name, else by encoding; calibrations lie beside the images.

    Raises:
        BagError: the bag has no such topics, or it cannot be told which they are.
    """
    ir, vis = choose_topics(bag, ir_topic, vis_topic)
    topics = all_topics(bag)
    infos = {topic.name for topic in topics if topic.type == CAMERA_INFO_TYPE}
    tf_static = "/tf_static" if ("/tf_static", TF_TYPE) in [t[:2] for t in topics] else None
    return FusionTopics(ir, vis, _info_beside(vis, infos), _info_beside(ir, infos), tf_static)


def topic_name(text: str) -> str:
    """The absolute name of a topic.

    Raises:
        ConfigurationError: no topic of ROS 2 can be called so.
    """
    name = "/" + text.strip().strip("/")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "expected a topic's name: letters, digits and _, not a digit first, with / between, "
            f"found {text!r}"
        )
    return name


def _info_beside(topic: str, infos: set) -> Optional[str]:
    """`/camera/camera_info` for `/camera/image_raw` and `/camera/image_raw/compressed`."""
    parts = topic.split("/")
    if parts[-1] in ("compressed", "compressedDepth"):
        parts.pop()
    name = "/".join(parts[:-1] + ["camera_info"])
    return name if name in infos else None
