"""Recordings of every kind; the numbers are those of the table of reported cases."""

import sqlite3
import tracemalloc

import pytest
from bag_recording import IMAGE, START_NS, STORAGES, needs_rosbags
from rosbag2_bags import (
    COUNT,
    TOPICS,
    raw_images,
    read,
    read_partly,
    write_mcap,
    write_rosbags,
)

from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.bag_error import BagError

pytestmark = needs_rosbags
mcap_writer = pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")
MODES = ["NONE", "FILE", "MESSAGE"]


# --- B22c, B19: recordings without their end


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", MODES)
def test_b22c_recordings_of_every_compression_are_read_without_metadata(tmp_path, storage, mode):
    bag = write_rosbags(tmp_path / "rec", storage=storage, mode=mode)
    assert read(bag) == raw_images()
    (tmp_path / "rec" / "metadata.yaml").unlink()
    assert read(bag) == raw_images()


@pytest.mark.parametrize("mode", MODES)
def test_b22c_a_cut_mcap_of_every_compression_gives_its_whole_chunks(tmp_path, mode):
    messages = raw_images(30, (120, 160))  # 2.3 MB: two chunks of 1 MB and the rest
    bag = write_rosbags(tmp_path / "rec", messages, "mcap", mode)
    (file,) = [path for path in (tmp_path / "rec").iterdir() if "mcap" in path.name]
    whole = file.read_bytes()
    file.write_bytes(whole[: int(0.8 * len(whole))])
    for name in ("metadata.yaml", None):
        found, (error,) = read_partly(bag)
        assert 20 < len(found) < 60 and found == messages[: len(found)]
        assert "cut off" in str(error) and "--allow-partial" in str(error)
        if name:
            (tmp_path / "rec" / name).unlink()


@pytest.mark.parametrize("identifier", ['""', "mcap", "my_plugin"])
@pytest.mark.parametrize("storage", STORAGES)
def test_b19_the_storage_is_that_of_the_file(tmp_path, storage, identifier):
    bag = write_rosbags(tmp_path / "rec", storage=storage, version=8)
    text = f"storage_identifier: {identifier}"
    (tmp_path / "rec" / "metadata.yaml").write_text(
        (tmp_path / "rec" / "metadata.yaml").read_text().replace(
            f"storage_identifier: {storage}", text
        )
    )  # fmt: skip
    assert read(bag) == raw_images()


@pytest.mark.parametrize("text", ["", "%$", "rosbag2_bagfile_information:\n  version: 4\n"])
def test_metadata_that_cannot_be_read_is_told_and_the_messages_are_read(tmp_path, text):
    bag = write_rosbags(tmp_path / "rec")
    (tmp_path / "rec" / "metadata.yaml").write_text(text)
    found, (error,) = read_partly(bag)
    assert found == raw_images() and "metadata.yaml is unreadable" in str(error)


# --- B24, B25b: MCAP as the format allows it


INDEXES = ["NONE", "CHUNK", "MESSAGE", "ALL"]
LEAN = {
    "no statistics": {"use_statistics": False},
    "no channels in the summary": {"repeat_channels": False, "repeat_schemas": False},
    "no schemas in the summary": {"repeat_schemas": False},
    "no summary offsets": {"use_summary_offsets": False},
    "nothing": {
        "use_statistics": False,
        "repeat_channels": False,
        "repeat_schemas": False,
        "use_summary_offsets": False,
    },
}


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
@pytest.mark.parametrize("index", INDEXES)
def test_b24_mcap_with_any_index_is_read(tmp_path, index, compression):
    bag = write_mcap(
        tmp_path / "a.mcap",
        index_types=getattr(mcap_writer.IndexType, index),
        compression=getattr(mcap_writer.CompressionType, compression),
        chunk_size=3000,
    )
    assert read(bag) == raw_images()


@pytest.mark.parametrize("use_chunking", [True, False])
@pytest.mark.parametrize("lean", LEAN)
def test_b24_mcap_with_any_summary_is_read(tmp_path, lean, use_chunking):
    bag = write_mcap(tmp_path / "a.mcap", use_chunking=use_chunking, chunk_size=3000, **LEAN[lean])
    assert read(bag) == raw_images()
    assert [topic[:3] for topic in all_topics(bag)] == [(n, IMAGE, COUNT) for n in TOPICS]


@pytest.mark.parametrize("use_chunking", [True, False])
def test_b25b_mcap_out_of_order_is_read_in_order(tmp_path, use_chunking):
    messages = raw_images(12)
    shuffled = messages[14:] + messages[1:14:2] + messages[0:14:2]
    bag = write_mcap(tmp_path / "a.mcap", shuffled, use_chunking=use_chunking, chunk_size=2000)
    assert read(bag) == messages


def test_chunks_that_all_overlap_are_read_in_order_with_little_memory(tmp_path):
    messages = raw_images(60, (120, 160))  # 4.6 MB
    early = [(topic, START_NS - 1, raw) for topic, _, raw in messages[::9]]
    mixed = [each for n in range(14) for each in (early[n], *messages[9 * n : 9 * n + 9])]
    bag = write_mcap(tmp_path / "a.mcap", mixed[: len(mixed)], chunk_size=300_000)
    names = list(TOPICS)
    tracemalloc.start()
    times = [message.recorded_ns for message in read_messages(bag, (), names)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert times == sorted(each[1] for each in mixed)
    assert peak < 4_500_000


def test_channels_of_other_systems_do_not_hide_the_images(tmp_path):
    def extra(writer):
        for name, encoding, schema in (
            ("/json", "json", "jsonschema"),
            ("/protobuf", "protobuf", "protobuf"),
            ("/old", "ros1", "ros1msg"),
        ):
            kind = writer.register_schema("sensor_msgs/Image", schema, b"\xff\xfe{}")
            channel = writer.register_channel(name, encoding, kind)
            writer.add_message(channel, START_NS, b"{}", START_NS)
        writer.add_message(writer.register_channel("/bare", "json", 0), START_NS, b"{}", START_NS)

    bag = write_mcap(tmp_path / "a.mcap", extra=extra)
    assert read(bag) == raw_images()
    types = {topic.name: topic.type for topic in all_topics(bag)}
    assert types["/json"] == "sensor_msgs/Image as json" and types["/vis"] == IMAGE
    with pytest.raises(BagError, match="where it is a sensor_msgs/Image as ros1"):
        list(read_messages(bag, ["/old"]))


@pytest.mark.parametrize("name", ["sensor_msgs/Image", "sensor_msgs::msg::Image"])
def test_types_are_understood_as_other_recorders_write_them(tmp_path, name):
    assert read(write_mcap(tmp_path / "a.mcap", type_name=name)) == raw_images()
    bag = write_rosbags(tmp_path / "rec")
    with sqlite3.connect(tmp_path / "rec" / "rec.db3") as database:
        database.execute("UPDATE topics SET type = ?", (name,))
    assert read(bag) == raw_images()
