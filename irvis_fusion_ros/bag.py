"""Images out of a ROS 2 bag (sqlite3 or MCAP), message by message, without a ROS graph.

Reads with `rosbags`, which is imported when a bag is opened and not before. The messages have the
fields of sensor_msgs/Image and CompressedImage, so `irvis_fusion_ros.image_messages` takes them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from irvis_fusion_core.errors import FusionError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
NS_PER_S = 1_000_000_000


class BagError(FusionError):
    """A bag cannot be read, or does not hold what is looked for."""


class BagReaderUnavailableError(BagError):
    """`rosbags` is not installed."""


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


def image_topics(bag: str) -> List[ImageTopic]:
    """The topics of type Image and CompressedImage of a bag (a folder, .db3 or .mcap), by name.

    Raises:
        BagReaderUnavailableError: `rosbags` is not installed.
        BagError: the bag is missing, truncated, or not one of ROS 2.
    """
    with _opened(bag) as reader:
        return _image_topics(reader)


def read_images(bag: str, topics: Sequence[str]) -> Iterator[BagImage]:
    """The images of these topics in order of recording; holds one message at a time.

    Raises:
        BagReaderUnavailableError: `rosbags` is not installed.
        BagError: the bag cannot be read to its end, or a topic is no image topic.
    """
    typestore = _typestore()
    with _opened(bag) as reader:
        there = _image_topics(reader)
        for topic in topics:
            if topic not in [t.name for t in there]:
                raise BagError(
                    f"expected an image topic {topic!r} in {bag}, found {list_topics(there)}"
                )
        wanted = [c for c in reader.connections if c.topic in topics and c.msgtype in IMAGE_TYPES]
        if not wanted:
            return  # rosbags takes an empty list for every topic
        messages = iter(reader.messages(wanted))
        while True:
            with _errors_named(bag):
                found = next(messages, None)
                if found is None:
                    return
                connection, recorded_ns, raw = found
                message = typestore.deserialize_cdr(raw, connection.msgtype)
                stamp = message.header.stamp
                stamp_ns = stamp.sec * NS_PER_S + stamp.nanosec
            yield BagImage(connection.topic, stamp_ns or recorded_ns, message)


def list_topics(topics: Sequence[ImageTopic]) -> str:
    """Image topics as a message names them."""
    if not topics:
        return "no image topics (sensor_msgs/Image or CompressedImage)"
    return "the image topics " + ", ".join(
        f"{t.name} ({t.type.rpartition('/')[2]}, {t.messages})" for t in topics
    )


def _image_topics(reader: Any) -> List[ImageTopic]:
    counts: Dict[Tuple[str, str], int] = {}
    for connection in reader.connections:  # one topic has several where publishers differed
        if connection.msgtype in IMAGE_TYPES:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
    return [ImageTopic(name, kind, count) for (name, kind), count in sorted(counts.items())]


@contextlib.contextmanager
def _opened(bag: str) -> Iterator[Any]:
    rosbag2 = _import_rosbags("rosbags.rosbag2")
    if not os.path.exists(bag):
        raise BagError(
            "expected a ROS 2 bag (a folder with metadata.yaml, a .db3 or a .mcap), found nothing "
            f"at {bag}"
        )
    with contextlib.ExitStack() as stack:
        with _errors_named(bag):
            reader = stack.enter_context(rosbag2.Reader(Path(bag)))
        yield reader


@contextlib.contextmanager
def _errors_named(bag: str) -> Iterator[None]:
    """What goes wrong within the storage libraries, as BagError."""
    try:
        yield
    except FusionError:
        raise
    except Exception as error:  # rosbags' own, SQLite's, zstd's, OSError, struct.error ...
        raise BagError(
            f"expected {bag} to be a readable ROS 2 bag, found: {type(error).__name__}: {error}; "
            "if its recording was cut off, try `ros2 bag reindex` or `mcap recover` on a copy"
        ) from error


def _typestore() -> Any:
    typesys = _import_rosbags("rosbags.typesys")
    # The two image types are the same in every distribution.
    return typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)


def _import_rosbags(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BagReaderUnavailableError(
            f"expected the Python package rosbags, which reads bags, found: {error}; install it "
            "with `pip install 'irvis_fusion[bag]'` (Python 3.10 or newer)"
        ) from error
