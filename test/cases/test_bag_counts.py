"""Messages read and messages stated: every difference is told."""

import sqlite3
import struct
from pathlib import Path

import pytest
from bag_recording import STORAGES, needs_rosbags
from rosbag2_bags import (
    COUNT,
    edit_metadata,
    raw_images,
    read,
    read_partly,
    write_mcap,
    write_rosbags,
    write_split,
)

from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.bag_error import BagError, IncompleteBagError

pytestmark = needs_rosbags
pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")
zstandard = pytest.importorskip("zstandard", reason="comes with mcap")
WHOLE = 2 * COUNT
MODES = ["NONE", "FILE", "MESSAGE"]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("stated", [5, 7, 600])
def test_counts_that_differ_are_an_error_after_every_message(tmp_path, storage, stated):
    bag = write_rosbags(tmp_path / "rec", storage=storage)
    edit_metadata(bag, f"message_count: {COUNT}\n", f"message_count: {stated}\n", 1)
    found, (error,) = read_partly(bag)
    assert found == raw_images()
    assert isinstance(error, IncompleteBagError) and error.exit_status == 2
    assert error.differences == {"/ir": (COUNT, stated)}
    for part in (f"/ir: {COUNT} read, {stated} by metadata.yaml", "was edited", "--allow-partial"):
        assert part in str(error)
    with pytest.raises(IncompleteBagError):
        read(bag)
    names = read_messages(bag, ["/vis"])  # the topic whose count is right
    assert len(list(names)) == COUNT


def test_counts_of_mcap_statistics_are_compared(tmp_path):
    file = tmp_path / "rec.mcap"
    write_mcap(file)
    data = bytearray(file.read_bytes())
    number = struct.pack("<HQ", 2, COUNT)  # channel 2 and its messages
    at = data.rindex(number)
    data[at : at + 10] = struct.pack("<HQ", 2, COUNT + 3)
    file.write_bytes(data)
    found, (error,) = read_partly(file)
    assert found == raw_images() and error.differences == {"/vis": (COUNT, COUNT + 3)}


def test_rows_of_a_topic_that_is_not_listed_are_told(tmp_path):
    bag = write_rosbags(tmp_path / "rec")
    with sqlite3.connect(tmp_path / "rec" / "rec.db3") as database:
        database.execute("UPDATE messages SET topic_id = 9 WHERE id IN (2, 4)")
    found, (error,) = read_partly(bag)
    assert len(found) == WHOLE - 2 and error.differences == {"/vis": (COUNT - 2, COUNT)}
    assert "2 messages of topics that it does not name" in str(error)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("with_metadata", [True, False])
def test_split_bags_are_read_whole(tmp_path, storage, mode, with_metadata):
    folder, names = write_split(tmp_path, storage, mode)
    assert all(name.endswith(".zstd") == (mode == "FILE") for name in names)
    if not with_metadata:
        (folder / "metadata.yaml").unlink()
    assert read(folder) == raw_images()


def test_a_missing_split_is_told_with_the_file_and_copying_it_is_the_remedy(tmp_path):
    folder, names = write_split(tmp_path)
    (folder / names[1]).rename(tmp_path / names[1])
    found, (error,) = read_partly(folder)
    assert found == raw_images()[:4] + raw_images()[8:]
    assert error.differences == {"/ir": (4, 6), "/vis": (4, 6)}
    assert f"{names[1]}, which metadata.yaml lists, is not there" in str(error)
    assert "reindex" not in str(error)
    (tmp_path / names[1]).rename(folder / names[1])
    assert read(folder) == raw_images()


def test_a_split_that_metadata_does_not_list_is_read_and_told(tmp_path):
    folder, names = write_split(tmp_path)
    edit_metadata(folder, f"  - {names[2]}\n", "", 1)
    edit_metadata(folder, "message_count: 6", "message_count: 4")
    found, (error,) = read_partly(folder)
    assert found == raw_images()
    assert f"{names[2]} is there, and metadata.yaml does not list it" in str(error)
    (folder / names[2]).rename(folder / "rec_0 (copy).mcap")  # no later split
    assert read(folder) == raw_images()[:8]


def test_a_storage_file_of_another_name_stands_for_a_missing_one(tmp_path):
    bag = Path(write_rosbags(tmp_path / "rec", storage="mcap"))
    (bag / "rec.mcap").rename(bag / "tuesday.mcap")
    assert read(bag) == raw_images()
    (bag / "tuesday.mcap").unlink()
    with pytest.raises(BagError, match="none of the storage files.*rec.mcap.*copy them") as caught:
        all_topics(str(bag))
    assert "reindex" not in str(caught.value) and "--allow-partial" not in str(caught.value)


def test_files_decompressed_or_compressed_by_hand_are_read(tmp_path):
    folder, names = write_split(tmp_path, "sqlite3", "FILE")
    packed = (folder / names[0]).read_bytes()
    size = 1 << 20
    plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    (folder / names[0]).unlink()
    (folder / "rec_0.db3").write_bytes(plain)
    assert read(folder) == raw_images()
    (folder / names[0]).write_bytes(packed[:-9])  # killed while it compressed
    (folder / "metadata.yaml").unlink()
    assert read(folder) == raw_images()
