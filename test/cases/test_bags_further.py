"""Further bags: damage, joined files, other ages of the format, advice that works."""

import os
import shlex
import sqlite3
import struct
import sys
from pathlib import Path

import pytest
from bag_recording import IMAGE, START_NS, STORAGES, needs_rosbags
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbag2_bags import (
    COUNT,
    TOPICS,
    edit_metadata,
    raw_images,
    read,
    read_partly,
    write_mcap,
    write_rosbags,
    write_split,
)

from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.bag_error import BagError

pytestmark = needs_rosbags
mcap_writer = pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")
WHOLE = 2 * COUNT
SUFFIX = {"sqlite3": ".db3", "mcap": ".mcap"}


# --- advice


def test_a_bag_of_ros_1_is_converted_by_the_named_command(tmp_path):
    from rosbags.convert.cli import main as convert
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC)
    text = types.types["std_msgs/msg/String"]
    path = tmp_path / "old one.bag"
    with Writer(path) as writer:
        connection = writer.add_connection("/vis", text.__msgtype__, typestore=types)
        raw = types.serialize_ros1(text("hello"), text.__msgtype__)
        writer.write(connection, START_NS, raw)
    with pytest.raises(BagError, match="a bag of ROS 1; convert it") as caught:
        all_topics(str(path))
    assert "reindex" not in str(caught.value)
    command = shlex.split(str(caught.value).split("`")[1])
    assert command[0] == "rosbags-convert"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            convert()
    assert not ended.value.code
    (message,) = read_messages(str(tmp_path / "old one"), (), ["/vis"])
    assert bytes(message.raw)[8:13] == b"hello"


# --- further inputs


def test_a_bag_is_read_while_it_is_recorded(tmp_path):
    bag = write_rosbags(tmp_path / "rec")
    (tmp_path / "rec" / "metadata.yaml").unlink()
    recorder = sqlite3.connect(tmp_path / "rec" / "rec.db3", isolation_level=None)
    recorder.execute("PRAGMA journal_mode=WAL")
    recorder.execute("BEGIN")
    insert = "INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, x'00010000')"
    recorder.execute(insert, (START_NS * 2,))
    assert read(bag) == raw_images()
    recorder.execute("COMMIT")
    assert len(list(read_messages(bag, (), TOPICS))) == WHOLE + 1
    recorder.close()


def test_the_first_form_of_rosbag2_is_read(tmp_path):
    """Of Dashing: no profiles, no definitions, no index on the time."""
    bag = Path(write_rosbags(tmp_path / "rec"))
    database = sqlite3.connect(bag / "rec.db3", isolation_level=None)
    for table in ("schema", "metadata", "message_definitions"):
        database.execute(f"DROP TABLE {table}")
    database.execute("DROP INDEX timestamp_idx")
    for column in ("offered_qos_profiles", "type_description_hash"):
        database.execute(f"ALTER TABLE topics DROP COLUMN {column}")
    database.execute("UPDATE messages SET id = 100 - id")
    database.close()
    edit_metadata(bag, "version: 9", "version: 1")
    assert read(bag) == raw_images()


def test_metadata_saved_by_an_editor_of_windows_is_read(tmp_path):
    bag = write_rosbags(tmp_path / "rec")
    path = tmp_path / "rec" / "metadata.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(bag) == raw_images()


def test_attachments_and_private_records_are_passed_over(tmp_path):
    def extra(writer):
        writer.add_attachment(1, 1, "calibration.yaml", "text/plain", bytes(5000))
        writer.add_metadata("rosbag2", {"serialized_metadata": ""})

    bag = tmp_path / "a.mcap"
    data = Path(write_mcap(bag, extra=extra)).read_bytes()
    at = 17 + struct.unpack_from("<Q", data, 9)[0]  # behind the header
    bag.write_bytes(data[:at] + struct.pack("<BQ", 0x93, 7) + b"private" + data[at:])
    assert read(bag) == raw_images()


def test_joined_files_are_told(tmp_path):
    parts = [raw_images()[:6], raw_images()[6:]]
    files = [Path(write_mcap(tmp_path / f"{n}.mcap", part)) for n, part in enumerate(parts)]
    (tmp_path / "both.mcap").write_bytes(b"".join(file.read_bytes() for file in files))
    found, (error,) = read_partly(tmp_path / "both.mcap")
    assert found == parts[0] and "bytes follow its end" in str(error)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_empty_last_split_is_told_and_the_others_are_read(tmp_path, storage):
    folder, names = write_split(tmp_path, storage)
    (folder / "metadata.yaml").unlink()
    (folder / f"rec_3{SUFFIX[storage]}").write_bytes(b"")
    found, (error,) = read_partly(folder)
    assert found == raw_images() and "found: an empty file" in str(error)


def test_messages_that_are_no_images_are_told_with_their_number(tmp_path):
    messages = raw_images()
    for number, raw in ((5, messages[5][2][:40]), (7, b""), (8, b"\xff" * 20)):
        messages[number] = (*messages[number][:2], raw)
    bag = write_rosbags(tmp_path / "rec", messages)
    errors = []
    found = list(read_messages(bag, TOPICS, (), errors.append))
    assert [number for number, each in enumerate(found) if each.message is None] == [5, 7, 8]
    assert [bytes(each.raw) for each in found] == [raw for _, _, raw in messages]
    assert f"2 messages of /vis are no {IMAGE}" in str(errors[0])


@pytest.mark.parametrize("storage", STORAGES)
def test_a_cut_zstd_file_gives_its_beginning(tmp_path, storage):
    messages = raw_images(30, (120, 160))
    bag = Path(write_rosbags(tmp_path / "rec", messages, storage, "FILE"))
    (file,) = bag.glob("*.zstd")
    file.write_bytes(file.read_bytes()[:-200_000])
    found, (error,) = read_partly(bag)
    assert 20 < len(found) < 60 and found == messages[: len(found)]
    assert f"{file} is cut off" in str(error) and "/tmp/irvis" not in str(error)


def test_a_folder_of_bags_names_them(tmp_path):
    write_rosbags(tmp_path / "monday")
    write_rosbags(tmp_path / "tuesday")
    with pytest.raises(BagError, match="name one of the bags in it: monday, tuesday") as caught:
        all_topics(str(tmp_path))
    name = str(caught.value).rpartition(", ")[2]
    assert read(tmp_path / name) == raw_images()


def test_a_pipe_is_no_bag(tmp_path):
    os.mkfifo(tmp_path / "a.mcap")
    with pytest.raises(BagError, match="not a regular file"):
        all_topics(str(tmp_path / "a.mcap"))


# --- any bytes


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_gives_whole_messages_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damage"
    if not folder.exists():
        folder.mkdir()
        write_mcap(folder / "a.mcap", chunk_size=3000)
        write_mcap(folder / "b.mcap", chunk_size=3000, index_types=mcap_writer.IndexType.NONE)
        write_rosbags(folder / "c", version=8)
        (folder / "c" / "c.db3").rename(folder / "c.db3")
    name = data.draw(st.sampled_from(["a.mcap", "b.mcap", "c.db3"]))
    whole = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=9))
        whole[at : at + len(piece)] = piece
    end = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    damaged = folder / f"damaged{Path(name).suffix}"
    damaged.write_bytes(whole[:end])
    try:
        names = [topic.name for topic in all_topics(str(damaged))]
        found = list(read_messages(str(damaged), (), names, lambda error: None))
    except BagError:
        return
    if name.endswith("mcap"):  # their chunks have checksums
        raws = {raw for _, _, raw in raw_images()}
        assert all(bytes(message.raw) in raws for message in found)


@settings(max_examples=60, deadline=None)
@given(content=st.text(max_size=200) | st.binary(max_size=200))
def test_any_metadata_is_read_or_told(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "any_metadata"
    if not folder.exists():
        write_rosbags(folder)
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    (folder / "metadata.yaml").write_bytes(data)
    found, errors = read_partly(folder)
    assert found == raw_images() and len(errors) == 1
