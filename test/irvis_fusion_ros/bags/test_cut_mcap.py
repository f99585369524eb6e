"""Of an MCAP file that was cut off, every whole message is read, and the cut is told."""

import pytest
from bag_recording import START_NS, needs_rosbags, numbered_image, street
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import make_bag, read_whole, write_pairs

from irvis_fusion_ros.bags.bag import BagError, all_topics, read_messages
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.cut_mcap import CutMcap, is_cut
from irvis_fusion_ros.bags.made_images import IMAGE_TYPE, ImageForm, image_message

pytestmark = needs_rosbags


def read_until_error(bag):
    found, names = [], [topic.name for topic in all_topics(str(bag))]
    with pytest.raises(BagError, match="cut off after .* messages"):
        for message in read_messages(str(bag), (), names):
            found.append((message.topic, message.recorded_ns, bytes(message.raw)))
    return found


@pytest.fixture(scope="module", params=[False, True])
def bag(request, tmp_path_factory):
    """600 kB of images; chunks of 1 MB, compressed or not, in a folder with metadata.yaml."""
    path = tmp_path_factory.mktemp("whole") / "bag"
    with BagWriter(path, "mcap", compress=request.param) as writer:
        for number in range(60):
            pixels = numbered_image(number, 120, 160, 3)
            message = image_message(pixels, ImageForm("rgb8"), START_NS + number, "camera")
            topic = "/a" if number % 3 else "/b"
            writer.write_message(topic, IMAGE_TYPE, START_NS + number, message)
    return path, request.param


@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_what_is_there_is_read_in_order(tmp_path, bag, share, with_metadata):
    path, compressed = bag
    expected = read_whole(path)
    whole = (path / "bag.mcap").read_bytes()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "bag.mcap").write_bytes(whole[: int(share * len(whole))])
    if with_metadata:
        (cut / "metadata.yaml").write_bytes((path / "metadata.yaml").read_bytes())
    found = read_until_error(cut)
    assert found == expected[: len(found)]
    # Of a compressed chunk (18 images) that is cut nothing is left, else all but one message.
    missing = 60 * (1 - share)
    assert 60 - len(found) <= missing + (19 if compressed else 2)
    assert sum(topic.messages for topic in all_topics(str(cut))) == len(found)
    assert read_until_error(cut / "bag.mcap") == found


def test_a_whole_file_is_none(tmp_path):
    bag = street(tmp_path / "bag", "mcap")
    assert not is_cut(f"{bag}/bag.mcap")
    (tmp_path / "empty.mcap").write_bytes(b"")
    assert not is_cut(tmp_path / "empty.mcap")


def test_a_folder_that_was_killed_with_sqlite3_is_read_without_metadata(tmp_path):
    bag = make_bag(tmp_path / "bag", write_pairs(tmp_path / "pairs", 2), 0.5)
    expected = read_whole(bag)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert read_whole(bag) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_cut_and_no_rubbish_at_the_end_breaks_the_reader(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "rubbish"
    if not folder.exists():
        street(folder / "bag", "mcap", frames=4)
    whole = (folder / "bag" / "bag.mcap").read_bytes()
    length = data.draw(st.integers(9, len(whole) - 1))
    end = data.draw(st.binary(max_size=40))
    (folder / "cut.mcap").write_bytes(whole[:length] + end)
    found = []
    with pytest.raises(BagError), CutMcap(folder / "cut.mcap") as reader:
        found.extend(reader.messages(reader.connections))
    assert len(found) <= 7
