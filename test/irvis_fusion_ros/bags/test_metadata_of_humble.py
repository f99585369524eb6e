"""metadata.yaml of our bags, taken apart as the yaml-cpp conversions of rosbag2 do it.

Humble (metadata_io.cpp, qos.cpp) and Jazzy (yaml.hpp, qos.cpp) convert each field to one C++ type
and end at the first that does not fit. A scalar of yaml-cpp is text; a missing key is an error.
"""

import re
import sqlite3

import pytest
import yaml
from bag_recording import START_NS, STORAGES, needs_rosbags, street

from irvis_fusion_ros.bags.bag import IMAGE_TYPE, all_topics, read_messages
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic

pytestmark = needs_rosbags


class BadConversion(Exception):
    pass


def load(text):
    """Scalars as text, as YAML::Load has them; quoted ones are marked by their type."""
    return yaml.load(text, yaml.BaseLoader)


def as_text(node):
    if not isinstance(node, str):
        raise BadConversion(f"expected a scalar, found {node!r}")
    return node


def as_integer(node, low, high):
    if not re.fullmatch(r"-?\d+", as_text(node)) or not low <= int(node) <= high:
        raise BadConversion(f"expected an integer within {low}..{high}, found {node!r}")
    return int(node)


def as_int(node):
    return as_integer(node, -(2**31), 2**31 - 1)


def as_uint64(node):
    return as_integer(node, 0, 2**64 - 1)


def as_bool(node):
    if as_text(node).lower() not in ("true", "false", "yes", "no", "on", "off", "y", "n"):
        raise BadConversion(f"expected a boolean, found {node!r}")


def as_list(node, convert):
    if not isinstance(node, list):
        raise BadConversion(f"expected a sequence, found {node!r}")
    return [convert(each) for each in node]


def as_time(node):
    return as_uint64(node["sec"]), as_uint64(node["nsec"])


def as_qos(node):
    """Both distributions: integers below version 9."""
    policies = ("history", "reliability", "durability", "liveliness", "depth")
    found = {name: as_int(node[name]) for name in policies}
    for name in ("deadline", "lifespan", "liveliness_lease_duration"):
        found[name] = as_time(node[name])
    as_bool(node["avoid_ros_namespace_conventions"])
    return found


def as_topic(node, distribution):
    topic, version = node["topic_metadata"], 8
    found = {name: as_text(topic[name]) for name in ("name", "type", "serialization_format")}
    text = as_text(topic["offered_qos_profiles"])  # text below version 9, and in Humble always
    found["qos"] = as_list(load(text), as_qos) if text else []
    if distribution != "humble" and version >= 7:
        as_text(topic["type_description_hash"])
    found["messages"] = as_uint64(node["message_count"])
    return found


def as_file(node):
    return {
        "path": as_text(node["path"]),
        "start": as_uint64(node["starting_time"]["nanoseconds_since_epoch"]),
        "duration": as_uint64(node["duration"]["nanoseconds"]),
        "messages": as_uint64(node["message_count"]),
    }


def as_metadata(node, distribution):
    """Convert rosbag2_bagfile_information of version 8."""
    assert as_int(node["version"]) == 8
    found = {
        "storage": as_text(node["storage_identifier"]),
        "duration": as_uint64(node["duration"]["nanoseconds"]),
        "start": as_uint64(node["starting_time"]["nanoseconds_since_epoch"]),
        "messages": as_uint64(node["message_count"]),
        "topics": as_list(
            node["topics_with_message_count"], lambda each: as_topic(each, distribution)
        ),
        "paths": as_list(node["relative_file_paths"], as_text),
        "compression": (as_text(node["compression_format"]), as_text(node["compression_mode"])),
        "files": as_list(node["files"], as_file),
    }
    if distribution != "humble":
        custom = node["custom_data"]
        assert custom in ("", "null", "~") or isinstance(custom, dict)  # iterated, not converted
        as_text(node["ros_distro"])
    return found


@pytest.fixture
def recording(tmp_path):
    """A recording of Jazzy: version 9, where QoS is a list."""
    from rosbag2_bags import write_rosbags
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    time = QosTime(9223372036, 854775807)
    qos = Qos(
        QosHistory.KEEP_LAST, 10, QosReliability.BEST_EFFORT, QosDurability.VOLATILE, time, time,
        QosLiveliness.AUTOMATIC, time, False,
    )  # fmt: skip
    return write_rosbags(tmp_path / "rec", qos=[[qos]])


@pytest.mark.parametrize("distribution", ["humble", "jazzy"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("storage", STORAGES)
def test_each_field_converts(tmp_path, recording, storage, compress, distribution):
    path = tmp_path / "night #2: ü"
    with BagWriter(path, storage, compress=compress) as writer:
        for topic in all_topics(recording):
            writer.add_topic(topic)
        writer.add_topic(StoredTopic("/fused/image_raw", IMAGE_TYPE, 0))
        for message in read_messages(recording, (), ["/ir", "/vis"]):
            writer.write_raw(message.topic, message.type, message.recorded_ns, message.raw)
    text = (path / "metadata.yaml").read_text(encoding="utf-8")
    found = as_metadata(load(text)["rosbag2_bagfile_information"], distribution)
    (name,) = [entry.name for entry in path.iterdir() if entry.name != "metadata.yaml"]
    assert found["storage"] == storage and found["messages"] == 12
    assert found["paths"] == [name] == [file["path"] for file in found["files"]]
    assert found["start"] == START_NS and found["duration"] == 5 * 33_000_000 + 1_000_000
    zstd_messages = compress and storage == "sqlite3"  # chunks of MCAP are its own affair
    assert found["compression"] == (("zstd", "message") if zstd_messages else ("", ""))
    topics = {topic["name"]: topic for topic in found["topics"]}
    assert topics["/vis"]["qos"][0] == {
        "history": 1, "reliability": 2, "durability": 2, "liveliness": 1, "depth": 10,
        "deadline": (9223372036, 854775807), "lifespan": (9223372036, 854775807),
        "liveliness_lease_duration": (9223372036, 854775807),
    }  # fmt: skip
    assert topics["/vis"]["messages"] == 6 and topics["/fused/image_raw"]["qos"] == []


def test_a_list_of_profiles_does_not_convert(recording):
    """The bar of this file: Jazzy's own metadata, and ours until now, fail Humble's conversion."""
    with open(recording + "/metadata.yaml", encoding="utf-8") as stream:
        topic = load(stream.read())["rosbag2_bagfile_information"]["topics_with_message_count"][0]
    with pytest.raises(BadConversion, match="scalar"):
        as_topic(topic, "humble")


def test_the_profiles_in_the_sqlite_file_convert_too(tmp_path, recording):
    with BagWriter(tmp_path / "bag") as writer:
        for topic in all_topics(recording):
            writer.add_topic(topic)
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        for (text,) in database.execute("SELECT offered_qos_profiles FROM topics"):
            assert as_list(load(text), as_qos)[0]["reliability"] == 2


def test_an_empty_bag_and_one_of_make_bag_convert(tmp_path):
    with BagWriter(tmp_path / "empty") as writer:
        writer.add_topic(StoredTopic("/fused/image_raw", IMAGE_TYPE, 0))
    street(tmp_path / "street", "mcap")
    for name, count in (("empty", 0), ("street", 9)):
        node = load((tmp_path / name / "metadata.yaml").read_text())
        for distribution in ("humble", "jazzy"):
            found = as_metadata(node["rosbag2_bagfile_information"], distribution)
            assert found["messages"] == count
