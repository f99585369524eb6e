"""Files of a bag that overlap, have other names or places, or were copied by hand."""

import gzip
import os
import shutil
import sqlite3
import struct
from pathlib import Path

import pytest
from bag_recording import IMAGE, STORAGES, needs_rosbags
from rosbag2_bags import (
    COUNT,
    edit_metadata,
    raw_images,
    read,
    read_partly,
    store,
    write_mcap,
    write_rosbags,
)

from irvis_fusion_ros.bags.bag import all_topics
from irvis_fusion_ros.bags.bag_error import BagError

pytestmark = needs_rosbags
mcap_writer = pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")
ALL = raw_images()


def folder_of(tmp_path, storage, parts, listed):
    """A bag of the files `parts`, name -> messages; with metadata.yaml if `listed`."""
    bag = tmp_path / "bag"
    bag.mkdir()
    for number, (name, messages) in enumerate(parts.items()):
        part = Path(write_rosbags(tmp_path / f"part{number}", messages, storage))
        (file,) = [path for path in part.iterdir() if path.name != "metadata.yaml"]
        file.rename(bag / name)
    if listed:
        shutil.copy(part / "metadata.yaml", bag)
        names = "".join(f"\n  - {name}" for name in parts)
        edit_metadata(bag, r"relative_file_paths:\n  - \S+", f"relative_file_paths:{names}")
        edit_metadata(bag, r"message_count: \d+", f"message_count: {COUNT}")
    return bag


PARTS = {
    "names by date": {"d_20240101_120000": ALL[:6], "d_20240102_010000": ALL[6:]},
    "names against time": {"b": ALL[:6], "a": ALL[6:]},
    "a file for each camera": {"ir": ALL[::2], "vis": ALL[1::2]},
    "splits that overlap": {"a_0": [*ALL[:5], ALL[6]], "a_1": [ALL[5], *ALL[7:]]},
    "three at once": {"a": ALL[::3], "b": ALL[1::3], "c": ALL[2::3]},
}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", PARTS)
def test_messages_of_all_files_come_in_order_of_recording(tmp_path, kind, storage, listed):
    suffix = {"sqlite3": ".db3", "mcap": ".mcap"}[storage]
    parts = {name + suffix: messages for name, messages in PARTS[kind].items()}
    assert read(folder_of(tmp_path, storage, parts, listed)) == ALL


def test_metadata_may_list_a_file_in_a_folder_none_or_be_named_itself(tmp_path):
    bag = Path(write_rosbags(tmp_path / "rec"))
    assert read(bag / "metadata.yaml") == ALL
    (bag / "sub").mkdir()
    (bag / "rec.db3").rename(bag / "sub" / "rec.db3")
    edit_metadata(bag, "- rec.db3", "- sub/rec.db3")
    assert read(bag) == ALL
    (bag / "sub" / "rec.db3").rename(bag / "rec.db3")
    assert read(bag) == ALL
    edit_metadata(bag, r"relative_file_paths:\n  - sub/rec.db3", "relative_file_paths: []")
    assert read(bag) == ALL


@pytest.mark.parametrize("storage", STORAGES)
def test_hidden_files_of_macos_and_copies_are_passed_over(tmp_path, storage):
    bag = Path(write_rosbags(tmp_path / "rec", storage=storage))
    (bag / "metadata.yaml").unlink()
    (file,) = bag.iterdir()
    (bag / f"._{file.name}").write_bytes(b"\0\5\26\7" + bytes(100))
    shutil.copy(file, bag / f"{file.stem} (copy){file.suffix}")
    assert read(bag) == ALL


def test_unpacking_is_the_remedy_of_an_archive(tmp_path):
    bag = Path(write_mcap(tmp_path / "a.mcap"))
    packed = tmp_path / "a.mcap.gz"
    packed.write_bytes(gzip.compress(bag.read_bytes()))
    with pytest.raises(BagError, match="an archive or a file that is compressed; unpack it"):
        all_topics(str(packed))
    bag.write_bytes(gzip.decompress(packed.read_bytes()))
    assert read(bag) == ALL


def test_tables_that_were_joined_by_sql_are_read_whole(tmp_path):
    """`CREATE TABLE ... AS SELECT` keeps no primary key: numbers may be there twice."""
    bag = Path(write_rosbags(tmp_path / "rec"))
    with sqlite3.connect(bag / "rec.db3") as database:
        database.execute("CREATE TABLE joined AS SELECT * FROM messages")
        database.execute("UPDATE joined SET id = id - 6 WHERE id > 6")
        database.execute("DROP TABLE messages")
        database.execute("ALTER TABLE joined RENAME TO messages")
    assert read(bag) == ALL


def records_of(data):
    offset = 8
    while offset < len(data) - 8:
        operation, length = struct.unpack_from("<BQ", data, offset)
        yield operation, data[offset : offset + 9 + length]
        offset += 9 + length


def test_channels_whose_numbers_are_used_again_are_told(tmp_path):
    """Two files whose records were joined: the second gives the topics other numbers."""
    parts = []
    for number, messages in enumerate((ALL[:6], ALL[6:])):
        path = tmp_path / f"{number}.mcap"
        with open(path, "wb") as stream:
            writer = mcap_writer.Writer(
                stream, use_chunking=False, index_types=mcap_writer.IndexType.NONE,
                use_statistics=False, repeat_channels=False, repeat_schemas=False,
                use_summary_offsets=False,
            )  # fmt: skip
            writer.start(profile="ros2")
            text = store().generate_msgdef(IMAGE, ros_version=2)[0].encode()
            schema = writer.register_schema(IMAGE, "ros2msg", text)
            topics = ("/ir", "/vis") if number == 0 else ("/vis", "/ir")
            channels = {topic: writer.register_channel(topic, "cdr", schema) for topic in topics}
            for topic, at_ns, raw in messages:
                writer.add_message(channels[topic], at_ns, raw, at_ns)
            writer.finish()
        parts.append(list(records_of(path.read_bytes())))
    begun = [record for operation, record in parts[0] if operation < 15 and operation != 2]
    rest = [record for operation, record in parts[1] if operation != 1]
    magic = b"\x89MCAP0\r\n"
    (tmp_path / "joined.mcap").write_bytes(magic + b"".join(begun + rest) + magic)
    _, (error,) = read_partly(tmp_path / "joined.mcap")
    assert "channel 1 is /ir and /vis" in str(error)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_are_followed(tmp_path):
    bag = Path(write_rosbags(tmp_path / "rec"))
    (bag / "rec.db3").rename(tmp_path / "elsewhere.db3")
    os.symlink("../elsewhere.db3", bag / "rec.db3")
    os.symlink(bag, tmp_path / "link")
    assert read(tmp_path / "link") == ALL


@pytest.mark.parametrize("size", [1, 100, 512, 4096])
def test_recovery_is_not_advised_where_nothing_is_left(tmp_path, size):
    bag = Path(write_rosbags(tmp_path / "rec"))
    whole = (bag / "rec.db3").read_bytes()
    (bag / "rec.db3").write_bytes(whole[:size])
    with pytest.raises(BagError, match="copy it again from where it was recorded$") as caught:
        all_topics(str(bag))
    assert ".recover" not in str(caught.value)
    (bag / "rec.db3").write_bytes(whole)  # the remedy
    assert read(bag) == ALL
