"""Of a .db3 that was copied in part, the messages before the damage are read, and it is told."""

import pytest
from bag_recording import START_NS, needs_rosbags, numbered_image
from made_bags import read_whole

from irvis_fusion_ros.bags.bag import BagError, all_topics, read_messages
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import IMAGE_TYPE, ImageForm, image_message

pytestmark = needs_rosbags


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "bag"
    with BagWriter(path) as writer:
        for number in range(60):
            pixels = numbered_image(number, 120, 160, 3)
            message = image_message(pixels, ImageForm("rgb8"), START_NS + number, "camera")
            writer.write_message("/ab"[: 2 + number % 2], IMAGE_TYPE, START_NS + number, message)
    return path


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("as_folder", [True, False])
def test_what_stands_before_the_damage_is_read_in_order(tmp_path, bag, share, as_folder):
    whole = (bag / "bag.db3").read_bytes()
    cut = tmp_path / "bag"
    cut.mkdir()
    (cut / "bag.db3").write_bytes(whole[: int(share * len(whole))])
    (cut / "metadata.yaml").write_bytes((bag / "metadata.yaml").read_bytes())
    found, path = [], str(cut if as_folder else cut / "bag.db3")
    with pytest.raises(BagError, match="damaged after .* copy it anew"):
        for message in read_messages(path, (), ["/a", "/ab"]):
            found.append((message.topic, message.recorded_ns, bytes(message.raw)))
    assert found == read_whole(bag)[: len(found)]
    assert len(found) >= 60 * share - 4
    assert {topic.name for topic in all_topics(path)} == {"/a", "/ab"}
    assert (cut / "bag.db3").read_bytes() == whole[: int(share * len(whole))]


def test_a_file_without_its_beginning_is_no_bag(tmp_path, bag):
    (tmp_path / "bag.db3").write_bytes((bag / "bag.db3").read_bytes()[4096:])
    with pytest.raises(BagError, match="readable"):
        all_topics(str(tmp_path / "bag.db3"))
