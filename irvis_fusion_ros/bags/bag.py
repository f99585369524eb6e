"""Messages out of a ROS 2 bag (sqlite3 or MCAP), one by one, without a ROS graph.

Reads with `rosbags`, or with ROS's own `rosbag2_py` where that is what there is; both are imported
when a bag is opened and not before. The messages have the fields of sensor_msgs/Image and
CompressedImage, so `irvis_fusion_ros.messages.image_messages` takes them.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from irvis_fusion_ros.bags.bag_storage import (
    BagError,
    BagReaderUnavailableError,
    StoredTopic,
    errors_named,
    open_reader,
)

__all__ = [
    "CAMERA_INFO_TYPE",
    "IMAGE_TYPES",
    "NS_PER_S",
    "TF_TYPE",
    "BagError",
    "BagImage",
    "BagMessage",
    "BagReaderUnavailableError",
    "ImageTopic",
    "StoredTopic",
    "all_topics",
    "image_topics",
    "list_topics",
    "read_images",
    "read_messages",
    "stamp_of",
]

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
NS_PER_S = 1_000_000_000


class ImageTopic(NamedTuple):
    """A topic of images in a bag."""

    name: str
    type: str
    messages: int


class BagImage(NamedTuple):
    """A message; `stamp_ns` is its header's, or the time of recording where the header has 0."""

    topic: str
    stamp_ns: int
    message: Any


class BagMessage(NamedTuple):
    """A message as it was recorded; `message` is None where decoding was not asked for."""

    topic: str
    type: str
    recorded_ns: int
    raw: bytes
    message: Any


def stamp_of(message: Any) -> int:
    """The stamp of a message's header in ns; 0 where the driver did not stamp it."""
    stamp = message.header.stamp
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def all_topics(bag: str) -> List[StoredTopic]:
    """Every topic of a bag (a folder, .db3 or .mcap), by name; errors as `image_topics`."""
    with _opened(bag) as reader:
        return list(reader.topics)


def image_topics(bag: str) -> List[ImageTopic]:
    """The topics of type Image and CompressedImage of a bag (a folder, .db3 or .mcap), by name.

    Raises:
        BagReaderUnavailableError: neither `rosbags` nor `rosbag2_py` is installed.
        BagError: the bag is missing, truncated, or not one of ROS 2.
    """
    with _opened(bag) as reader:
        return _image_topics(reader.topics)


def read_images(bag: str, topics: Sequence[str]) -> Iterator[BagImage]:
    """The images of these topics in order of recording; holds one message at a time.

    Raises:
        BagReaderUnavailableError: as `image_topics`.
        BagError: the bag cannot be read to its end, or a topic is no image topic.
    """
    for found in read_messages(bag, topics):
        stamp_ns = stamp_of(found.message)
        yield BagImage(found.topic, stamp_ns or found.recorded_ns, found.message)


def read_messages(
    bag: str, images: Sequence[str], others: Sequence[str] = ()
) -> Iterator[BagMessage]:
    """The messages of these topics in order of recording; holds one at a time.

    Those of `images` are decoded, and of `others` CameraInfo and TFMessage; of the rest only the
    bytes are given. A topic may be in both.

    Raises:
        BagReaderUnavailableError: as `image_topics`.
        BagError: the bag cannot be read to its end, a topic is not there, or one of `images` is
            no image topic.
    """
    with _opened(bag) as reader:
        _check_there(bag, reader.topics, images, others)
        wanted = [
            topic
            for topic in reader.topics
            if topic.name in others or (topic.name in images and topic.type in IMAGE_TYPES)
        ]
        if not wanted:
            return
        messages = iter(reader.messages(wanted))
        while True:
            with errors_named(bag):
                found = next(messages, None)
                if found is None:
                    return
                topic, recorded_ns, raw = found
                decode = topic.type in (CAMERA_INFO_TYPE, TF_TYPE) or (
                    topic.name in images and topic.type in IMAGE_TYPES
                )
                message = reader.decode(raw, topic.type) if decode else None
            yield BagMessage(topic.name, topic.type, recorded_ns, raw, message)


def list_topics(topics: Sequence[ImageTopic], others: Sequence[StoredTopic] = ()) -> str:
    """Image topics as a message names them, and beside them the others of a bag."""
    text = "no image topics (sensor_msgs/Image or CompressedImage)"
    if topics:
        text = "the image topics " + ", ".join(
            f"{t.name} ({t.type.rpartition('/')[2]}, {t.messages})" for t in topics
        )
    rest = [topic for topic in others if topic.type not in IMAGE_TYPES]
    if rest:
        text += "; and of other types " + ", ".join(f"{t.name} ({t.type})" for t in rest)
    return text


def _check_there(
    bag: str, topics: Sequence[StoredTopic], images: Sequence[str], others: Sequence[str]
) -> None:
    there = _image_topics(topics)
    listed = list_topics(there, topics)
    types: Dict[str, str] = {topic.name: topic.type for topic in topics}
    for name in images:
        if name not in [topic.name for topic in there]:
            is_a = f", where it is a {types[name]}" if name in types else ""
            raise BagError(f"expected an image topic {name!r} in {bag}{is_a}, found {listed}")
    for name in others:
        if name not in types:
            raise BagError(f"expected a topic {name!r} in {bag}, found {listed}")


def _image_topics(topics: Sequence[StoredTopic]) -> List[ImageTopic]:
    counts: Dict[Tuple[str, str], int] = {}
    for topic in topics:  # one topic has several entries where its publishers differed
        if topic.type in IMAGE_TYPES:
            key = (topic.name, topic.type)
            counts[key] = counts.get(key, 0) + topic.messages
    return [ImageTopic(name, kind, count) for (name, kind), count in sorted(counts.items())]


@contextlib.contextmanager
def _opened(bag: str) -> Iterator[Any]:
    reader: Optional[Any] = None
    with contextlib.ExitStack() as stack:
        with errors_named(bag):
            reader = stack.enter_context(open_reader(os.fspath(bag)))
        yield reader
