"""A topic of a bag, as its storage describes it."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from irvis_fusion_ros.bags.bag_error import bag_library

if TYPE_CHECKING:
    from rosbags.interfaces import Qos
    from rosbags.typesys.store import Typestore

CDR = "cdr"
_LONGEST_QOS = 64 * 1024


class StoredTopic(NamedTuple):
    """A topic of a bag, with everything that another bag has to know about it."""

    name: str
    type: str
    messages: int
    definition: str = ""  # text of the message definition; "" where the bag lacks it
    digest: str = ""  # type hash (REP 2011); "" where the bag lacks it
    qos: Sequence[Qos] = ()
    encoding: str = CDR  # of the messages; those of others ("json", "ros1") are not ROS 2's


def message_types() -> Typestore:
    """Return the types of ROS 2; those that are decoded here are the same in each distribution.

    Raises:
        BagError: `rosbags` is not installed.
    """
    return _types_of(bag_library("rosbags.typesys"))


@functools.lru_cache(1)
def _types_of(typesys: ModuleType) -> Typestore:
    store: Typestore = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    return store


def plain_type(name: str, encoding: str = CDR) -> str:
    """Return a type as ROS 2 writes it: sensor_msgs/msg/Image for sensor_msgs/Image, too.

    The type of messages that are not in CDR names their encoding: it is no type of ROS 2.
    """
    if encoding != CDR:
        return f"{name} as {encoding or 'unknown'}"
    parts = re.split("/|::", name)
    return "/".join([parts[0], "msg", parts[1]] if len(parts) == 2 else parts)


def read_qos(text: str) -> Sequence[Qos]:
    """Return the QoS profiles of a topic; none where they cannot be read."""
    if not text or len(text) > _LONGEST_QOS:
        return ()
    try:
        profiles: Sequence[Qos] = bag_library("rosbags.rosbag2.metadata").parse_qos(text)
    except Exception:  # noqa: BLE001 - messages are read without it
        return ()
    return profiles
