"""A bag has its name when it is whole, and nothing that is no bag is ever removed."""

import sys
import types

import numpy as np
import pytest
from bag_recording import IMAGE, START_NS, STORAGES, needs_rosbags, numbered_image

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.bag import BagError, all_topics, read_images, read_messages
from irvis_fusion_ros.bags.bag_place import MARK, is_bag
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import ImageForm, image_message
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic
from irvis_fusion_ros.messages.image_messages import view

pytestmark = needs_rosbags


def write(writer, count=3):
    for number in range(count):
        message = image_message(
            numbered_image(number), ImageForm("bgr8"), START_NS + number, "camera"
        )
        writer.write_message("/vis", IMAGE, START_NS + number, message)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("storage", STORAGES)
def test_messages_come_back(tmp_path, storage, compress):
    with BagWriter(tmp_path / "bag", storage, compress=compress) as writer:
        assert not (tmp_path / "bag").exists()
        write(writer)
    assert writer.messages == 3
    images = list(read_images(str(tmp_path / "bag"), ["/vis"]))
    for number, image in enumerate(images):
        np.testing.assert_array_equal(view(image.message), numbered_image(number))
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    suffix = {"sqlite3": "db3", "mcap": "mcap"}[storage]
    assert (tmp_path / "bag" / f"bag.{suffix}").is_file()


def test_a_relative_name_with_a_slash_at_its_end_is_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with BagWriter("bag/") as writer:
        write(writer)
    assert is_bag("bag") and not (tmp_path / "bag.part").exists()


@pytest.mark.parametrize("storage", STORAGES)
def test_an_error_keeps_what_was_written_marked_and_readable(tmp_path, storage):
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag", storage) as writer:
        write(writer)
        raise RuntimeError("the cat stepped on the plug")
    assert not (tmp_path / "bag").exists()
    assert len(list(read_images(writer.place.unfinished, ["/vis"]))) == 3
    assert "the cat" in (tmp_path / "bag.part" / MARK).read_text()
    with BagWriter(tmp_path / "bag", storage) as writer:  # and begins anew
        write(writer, 2)
    assert len(list(read_images(str(tmp_path / "bag"), ["/vis"]))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_an_error_before_the_first_message_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_a_mark_and_no_bag_of_that_name(tmp_path):
    writer = BagWriter(tmp_path / "bag").__enter__()
    write(writer, 40)  # and the process is gone
    assert not (tmp_path / "bag").exists()
    assert "killed" in (tmp_path / "bag.part" / MARK).read_text()
    assert len(list(read_images(writer.place.unfinished, ["/vis"]))) == 32  # those committed


def test_two_at_a_time_do_not_disturb_each_other(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        write(writer)
        with pytest.raises(BagError, match="another process"), BagWriter(tmp_path / "bag"):
            pass
    assert len(list(read_images(str(tmp_path / "bag"), ["/vis"]))) == 3


def test_a_library_that_is_missing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    with pytest.raises(BagError, match="which reads and writes bags"), BagWriter(tmp_path / "bag"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_overwriting_puts_the_new_bag_in_the_old_ones_place_once_it_is_whole(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        write(writer, 3)
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag", overwrite=True) as writer:
        write(writer, 1)
        raise RuntimeError
    assert len(list(read_images(str(tmp_path / "bag"), ["/vis"]))) == 3
    with BagWriter(tmp_path / "bag", "mcap", overwrite=True) as writer:
        write(writer, 1)
    assert len(list(read_images(str(tmp_path / "bag"), ["/vis"]))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_what_is_no_bag_of_ours_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "metadata.yaml").write_text("")
    (tmp_path / "folder" / "notes.txt").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("folder", "file", "link"):
        with pytest.raises(BagError, match="choose another name"):
            BagWriter(tmp_path / name)
        with pytest.raises(BagError, match="something else"):
            BagWriter(tmp_path / name, overwrite=True)
    (tmp_path / "bag.part").mkdir()
    (tmp_path / "bag.part" / "notes.txt").write_text("")
    with pytest.raises(BagError, match="move it away"), BagWriter(tmp_path / "bag"):
        pass
    assert (tmp_path / "bag.part").is_dir()
    assert (tmp_path / "folder" / "notes.txt").exists()


def test_a_topic_without_messages_and_one_of_an_unknown_type_go_over(tmp_path):
    definition = "float32 volts\nstring name"
    topics = [
        StoredTopic("/empty", IMAGE, 0),
        StoredTopic("/battery", "our_msgs/msg/Battery", 0, definition),
        StoredTopic("/mystery", "our_msgs/msg/Mystery", 0),
    ]
    for storage in STORAGES:
        with BagWriter(tmp_path / storage, storage) as writer:
            for topic in topics + topics:
                writer.add_topic(topic)
            for name in ("Battery", "Mystery"):
                writer.write_raw(f"/{name.lower()}", f"our_msgs/msg/{name}", START_NS, b"\0\1\0\0")
        found = {topic.name: topic for topic in all_topics(str(tmp_path / storage))}
        assert [found[topic.name].type for topic in topics] == [topic.type for topic in topics]
        assert found["/battery"].definition == definition
        assert found["/battery"].digest.startswith("RIHS01_")
        (message,) = read_messages(str(tmp_path / storage), (), ["/battery"])
        assert bytes(message.raw) == b"\0\1\0\0"


def test_another_storage_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="sqlite3, mcap"):
        BagWriter(tmp_path / "bag", "rosbag1")


def test_a_message_that_does_not_fit_its_type_is_named(tmp_path):
    with pytest.raises(BagError, match="writ"), BagWriter(tmp_path / "bag") as writer:
        writer.write_message("/vis", IMAGE, START_NS, types.SimpleNamespace(height=1))
