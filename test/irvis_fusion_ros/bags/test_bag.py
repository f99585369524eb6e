"""Bags, written by rosbags, come back as the images that went in."""

import sys
import tracemalloc

import numpy as np
import pytest
from bag_recording import (
    IMAGE,
    MS,
    START_NS,
    STORAGES,
    Recording,
    needs_rosbags,
    numbered_image,
    street,
)

from irvis_fusion_ros.bags.bag import BagError, image_topics, read_images
from irvis_fusion_ros.bags.bag_topics import choose_topics
from irvis_fusion_ros.messages.image_messages import view


@needs_rosbags
@pytest.mark.parametrize("storage", STORAGES)
def test_images_come_back_as_they_were_written(tmp_path, storage):
    bag = street(tmp_path / "bag", storage)
    assert [topic[:3] for topic in image_topics(bag)] == [
        ("/front/image_raw", IMAGE, 6),
        ("/thermal/image_raw", IMAGE, 2),
    ]
    found = list(read_images(bag, ["/front/image_raw", "/thermal/image_raw"]))
    stamps = [image.stamp_ns for image in found]
    assert stamps == sorted(stamps) and len(stamps) == 8
    visible = [image for image in found if image.topic == "/front/image_raw"]
    for number, image in enumerate(visible):
        assert image.stamp_ns == START_NS + number * 33 * MS
        np.testing.assert_array_equal(view(image.message), numbered_image(number))
    thermal = [image.message for image in found if image.topic == "/thermal/image_raw"]
    np.testing.assert_array_equal(view(thermal[1]), numbered_image(3, 12, 16, 1, np.uint16))


@needs_rosbags
@pytest.mark.parametrize("storage,suffix", [("sqlite3", "db3"), ("mcap", "mcap")])
def test_a_storage_file_without_its_folder_is_read(tmp_path, storage, suffix):
    street(tmp_path / "bag", storage)
    (file,) = (tmp_path / "bag").glob("*." + suffix)
    assert len(list(read_images(str(file), ["/front/image_raw"]))) == 6


@needs_rosbags
def test_a_header_without_stamp_takes_the_time_of_recording(tmp_path):
    recording = Recording(tmp_path / "bag")
    recording.image("/vis", 0, numbered_image(0), "rgb8", recorded_ns=START_NS)
    (image,) = read_images(recording.write(), ["/vis"])
    assert image.stamp_ns == START_NS


@needs_rosbags
@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_is_streamed(tmp_path, storage):
    recording, frames = Recording(tmp_path / "bag", storage), 60
    recording.frames = _Frames(recording, frames)
    bag = recording.write()
    tracemalloc.start()
    try:
        bytes_read = sum(image.message.data.nbytes for image in read_images(bag, ["/vis"]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bytes_read == frames * 400 * 500
    assert peak_bytes < bytes_read / 2


class _Frames:
    """Frames that come into being one at a time."""

    def __init__(self, recording, count):
        self.recording, self.count = recording, count

    def __iter__(self):
        for number in range(self.count):
            one = Recording(None)
            one.image("/vis", START_NS + number * MS, numbered_image(number, 400, 500, 1), "mono8")
            yield one.frames[0]


@needs_rosbags
@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_without_images_is_named(tmp_path, storage):
    recording = Recording(tmp_path / "bag", storage)
    recording.text("/chatter", START_NS, "hello")
    bag = recording.write()
    assert image_topics(bag) == []
    with pytest.raises(BagError, match="thermal and visible.*no image topics"):
        choose_topics(bag)


@needs_rosbags
@pytest.mark.parametrize("storage,suffix", [("sqlite3", "db3"), ("mcap", "mcap")])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_bag_is_named(tmp_path, storage, suffix, share):
    bag = street(tmp_path / "bag", storage, frames=30)
    (file,) = (tmp_path / "bag").glob("*." + suffix)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    advice = "copy it again from where"  # nothing can be read: the file has one chunk
    if storage == "sqlite3" and share > 0.1:  # the first page of SQLite holds no message
        advice = r'sqlite3 .*bag\.db3 "\.recover" \| sqlite3'
    with pytest.raises(BagError, match="bag.*" + advice):
        list(read_images(bag, ["/front/image_raw"]))


@needs_rosbags
def test_what_is_no_bag_is_named(tmp_path):
    with pytest.raises(BagError, match="found nothing"):
        image_topics(str(tmp_path / "absent"))
    with pytest.raises(BagError, match="metadata"):
        image_topics(str(tmp_path))
    (tmp_path / "bag.txt").write_text("no bag")
    with pytest.raises(BagError, match="readable"):
        image_topics(str(tmp_path / "bag.txt"))


def test_missing_rosbags_says_what_to_install(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "rosbags"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rosbags", None)
    for read in (image_topics, lambda bag: list(read_images(bag, []))):
        with pytest.raises(BagError, match="pip install rosbags mcap"):
            read(str(tmp_path))
