"""Read the messages of a ROS 2 bag (sqlite3 or MCAP) one by one, without a ROS graph.

`rosbags` is imported when a bag is opened. Images are read as the node reads them, by
`irvis_fusion_ros.messages.serialized_image`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.bags.bag_error import BagError, reading_errors
from irvis_fusion_ros.bags.bag_storage import BagReader, OnIncomplete
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic
from irvis_fusion_ros.messages.serialized_image import AnySerializedImage

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"


class BagImage(NamedTuple):
    """An image; `stamp_ns` is its header's, or the time of recording where the header has 0."""

    topic: str
    stamp_ns: int
    message: AnySerializedImage
    recorded_ns: int


class BagMessage(NamedTuple):
    """A message as it was recorded; `message` is None where it was not or cannot be decoded."""

    topic: str
    type: str
    recorded_ns: int
    raw: bytes
    message: Any  # the decoded message, whose fields `type` names


def all_topics(bag: str) -> list[StoredTopic]:
    """Return every topic of a bag (a folder, .db3 or .mcap), sorted by name.

    Raises:
        BagError: The bag is missing, truncated, or not a ROS 2 bag; or `rosbags` is not installed.
    """
    with BagReader(bag) as reader:
        return list(reader.topics)


def image_topics(bag: str) -> list[StoredTopic]:
    """Return the Image and CompressedImage topics of a bag by name; raise as `all_topics`."""
    return [topic for topic in all_topics(bag) if topic.type in IMAGE_TYPES]


def read_images(
    bag: str, topics: Sequence[str], on_incomplete: OnIncomplete | None = None
) -> Iterator[BagImage]:
    """Yield the images of these topics as `read_messages` does."""
    for found in read_messages(bag, topics, (), on_incomplete):
        if found.message is None:
            continue
        stamped_ns = stamp_ns(found.message.header.stamp)
        stamped_ns = stamped_ns or found.recorded_ns
        yield BagImage(found.topic, stamped_ns, found.message, found.recorded_ns)


def read_messages(
    bag: str,
    images: Sequence[str],
    others: Sequence[str] = (),
    on_incomplete: OnIncomplete | None = None,
) -> Iterator[BagMessage]:
    """Yield the messages of these topics in order of recording; hold one at a time.

    Those of the image topics are decoded. `others` may be of any type: CameraInfo and TFMessage
    are decoded, of other types only the bytes are given. A topic may be in both. `on_incomplete`
    takes the error where messages are missing; None raises it.

    Raises:
        IncompleteBagError: After the last message, where not all were read that the bag states.
        BagError: The bag cannot be read, or lacks such a topic; or `rosbags` is not installed.
    """
    with BagReader(bag) as reader:
        _check_there(bag, reader.topics, images, others)

        def is_wanted_image(topic: StoredTopic) -> bool:
            return topic.name in images and topic.type in IMAGE_TYPES

        wanted = [t for t in reader.topics if t.name in others or is_wanted_image(t)]
        messages = reader.messages(wanted, on_incomplete)
        while True:
            with reading_errors(bag):  # not around the yield: the caller's errors are its own
                topic, recorded_ns, raw = next(messages, (None, 0, b""))
                if topic is None:
                    return
                decode = topic.type in (CAMERA_INFO_TYPE, TF_TYPE) or is_wanted_image(topic)
                message = reader.decode(raw, topic) if decode else None
            yield BagMessage(topic.name, topic.type, recorded_ns, raw, message)


def list_topics(topics: Sequence[StoredTopic]) -> str:
    """Return the topics of a bag, image topics first, as error messages name them."""
    images, rest = [], []
    for topic in topics:
        if topic.type in IMAGE_TYPES:
            images.append(f"{topic.name} ({topic.type.rpartition('/')[2]}, {topic.messages})")
        else:
            rest.append(f"{topic.name} ({topic.type})")
    text = "no image topics (sensor_msgs/Image or CompressedImage)"
    if images:
        text = "the image topics " + ", ".join(images)
    return text + ("; and of other types " + ", ".join(rest) if rest else "")


def _check_there(
    bag: str, topics: Sequence[StoredTopic], images: Sequence[str], others: Sequence[str]
) -> None:
    types = {topic.name: topic.type for topic in topics}
    with_images = {topic.name for topic in topics if topic.type in IMAGE_TYPES}
    for kind, names, found in (("n image", images, with_images), ("", others, set(types))):
        for name in names:
            if name not in found:
                is_a = f", where it is a {types[name]}" if name in types else ""
                raise BagError(
                    f"expected a{kind} topic {name!r} in {bag}{is_a}, found {list_topics(topics)}"
                )
