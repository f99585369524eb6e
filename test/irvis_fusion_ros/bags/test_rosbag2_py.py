"""Where ROS's own `rosbag2_py` is and `rosbags` is not: the calls that it is given.

The library cannot be installed here; this stands in for it with the signatures of its Python
interface (Humble and Jazzy), around rosbags' files. What is checked is that reading and writing
go through it and end in the same messages.
"""

import importlib
import types

import numpy as np
import pytest
from bag_recording import STORAGES, needs_rosbags, numbered_image, street

from irvis_fusion_ros.bags import bag_sink, bag_storage
from irvis_fusion_ros.bags.bag import image_topics, read_images, read_messages
from irvis_fusion_ros.bags.bag_storage import RosbagsReader, StoredTopic
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.messages.image_messages import view

pytestmark = needs_rosbags


class Options:
    def __init__(self, uri, storage_id):
        self.uri, self.storage_id = uri, storage_id


class Converter:
    def __init__(self, input_serialization_format, output_serialization_format):
        assert input_serialization_format == output_serialization_format == "cdr"


class Metadata:
    """TopicMetadata of Jazzy: it wants an id; that of Humble does not know one."""

    wants_id = True

    def __init__(self, *, name, type, serialization_format, offered_qos_profiles="", **more):
        if self.wants_id != ("id" in more):
            raise TypeError("incompatible constructor arguments")
        self.name, self.type = name, type
        self.offered_qos_profiles = offered_qos_profiles
        assert serialization_format == "cdr"


class Reader:
    def open(self, storage, converter):
        self._stack = RosbagsReader(storage.uri).__enter__()
        assert storage.storage_id in STORAGES

    def set_filter(self, wanted):
        topics = [topic for topic in self._stack.topics if topic.name in wanted.topics]
        self._left = list(self._stack.messages(topics))

    def has_next(self):
        return bool(self._left)

    def read_next(self):
        topic, recorded_ns, raw = self._left.pop(0)
        return topic.name, bytes(raw), recorded_ns


class Info:
    def read_metadata(self, uri, storage_id):
        with RosbagsReader(uri) as reader:
            topics = [
                types.SimpleNamespace(
                    topic_metadata=types.SimpleNamespace(
                        name=topic.name, type=topic.type, offered_qos_profiles="- depth: 3"
                    ),
                    message_count=topic.messages,
                )
                for topic in reader.topics
            ]
        return types.SimpleNamespace(topics_with_message_count=topics, compression_mode="NONE")


class Writer:
    def open(self, storage, converter):
        self._sink = bag_sink.RosbagsSink(storage.uri, storage.storage_id, False)
        self._types = {}

    def create_topic(self, metadata):
        self._types[metadata.name] = metadata.type
        self._sink.add_topic(StoredTopic(metadata.name, metadata.type, 0))

    def write(self, name, raw, recorded_ns):
        assert type(raw) is bytes
        self._sink.write(name, self._types[name], recorded_ns, raw)

    def close(self):
        self._sink.close()


@pytest.fixture
def use_rosbag2_py(monkeypatch):
    """From its call on, rosbags is not there and rosbag2_py is."""
    pytest.importorskip("rclpy", reason="messages go through rclpy: pip install '.[ros]'")
    known = importlib.import_module("sensor_msgs.msg")
    real = importlib.import_module

    def import_module(name, package=None):
        if name != "rosidl_runtime_py.utilities":
            return real(name, package)
        return types.SimpleNamespace(
            get_message=lambda kind: getattr(known, kind.rpartition("/")[2])
        )

    def use(wants_id=True):
        library = types.SimpleNamespace(
            StorageOptions=Options,
            ConverterOptions=Converter,
            TopicMetadata=type("TopicMetadata", (Metadata,), {"wants_id": wants_id}),
            StorageFilter=lambda topics: types.SimpleNamespace(topics=topics),
            SequentialReader=Reader,
            SequentialWriter=Writer,
            Info=Info,
        )
        for module in (bag_storage, bag_sink):
            monkeypatch.setattr(module, "rosbags_or_none", lambda name: None)
            monkeypatch.setattr(module, "rosbag2_py_or_none", lambda: library)
        monkeypatch.setattr(importlib, "import_module", import_module)

    return use


@pytest.mark.parametrize("storage", STORAGES)
def test_images_come_through_it(tmp_path, use_rosbag2_py, storage):
    bag = street(tmp_path / "bag", storage)
    use_rosbag2_py()
    assert [topic[::2] for topic in image_topics(bag)] == [
        ("/front/image_raw", 6),
        ("/thermal/image_raw", 2),
    ]
    for number, image in enumerate(read_images(bag, ["/front/image_raw"])):
        assert type(image.message).__module__.startswith("sensor_msgs.")
        np.testing.assert_array_equal(view(image.message), numbered_image(number))
    assert number == 5


@pytest.mark.parametrize("wants_id", [True, False])
def test_messages_go_through_it(tmp_path, use_rosbag2_py, wants_id):
    bag = street(tmp_path / "bag")
    topics = ["/front/image_raw"], ["/chatter"]
    expected = list(read_messages(bag, *topics))
    use_rosbag2_py(wants_id)
    with BagWriter(tmp_path / "new", "mcap") as writer:
        for message in read_messages(bag, *topics):
            if message.message is None:
                writer.write_raw(*message[:4])
            else:
                made = types.SimpleNamespace(
                    **{
                        name: getattr(message.message, name)
                        for name in message.message.get_fields_and_field_types()
                    }
                )
                writer.write_message(message.topic, message.type, message.recorded_ns, made)
    found = list(read_messages(str(tmp_path / "new"), *topics))
    assert [message[:3] for message in found] == [message[:3] for message in expected]
    for one, other in zip(found, expected):  # not byte by byte: Fast CDR leaves padding as it was
        if one.message is None:
            assert bytes(one.raw) == bytes(other.raw)
        else:
            np.testing.assert_array_equal(view(one.message), view(other.message))
            assert one.message.header.frame_id == other.message.header.frame_id == "camera"
