"""What an error of `fuse_bag` advises is the remedy of its case."""

import re

import pytest
from bag_recording import START_NS, Recording, needs_rosbags
from made_bags import ReferenceFusion, make_bag, write_pairs
from rosbag2_bags import edit_metadata

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_ros.bags.bag import all_topics
from irvis_fusion_ros.commands import calibrate, estimate_time_offset, fuse_bag

pytestmark = needs_rosbags


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def reference(monkeypatch):
    monkeypatch.setattr(
        "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion",
        lambda settings, progress: ReferenceFusion(),
    )


@pytest.mark.parametrize("pairing", ["latest_ir", "pair"])
@pytest.mark.parametrize("offset_s", [0.4, -0.7, 3.0])
def test_each_parameter_that_is_advised_brings_pairs(tmp_path, pairs, capsys, pairing, offset_s):
    bag = make_bag(tmp_path / "bag", pairs, 1.5, ir_stamp_offset_s=offset_s)
    arguments = [bag, "--output", str(tmp_path / "fused"), "--quiet", "-p", f"pairing:={pairing}"]
    assert fuse_bag.main(arguments) == 1
    said = capsys.readouterr().err
    advised = re.findall(r"([a-z_]+:=-?[\d.]+)", said)
    assert advised
    for advice in advised:
        name = advice.partition(":=")[0]
        if name == "max_ir_age_s" and pairing == "pair":
            continue  # the first of two limits; the second has its own advice
        assert fuse_bag.main([*arguments, "--overwrite", "-p", advice]) == 0, advice


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_allow_partial_is_the_remedy_of_a_cut_bag(tmp_path, pairs, capsys, storage):
    bag = make_bag(tmp_path / "bag", pairs, 6.0, storage)
    (file,) = [path for path in (tmp_path / "bag").iterdir() if path.suffix in (".db3", ".mcap")]
    file.write_bytes(file.read_bytes()[: int(0.8 * file.stat().st_size)])
    assert fuse_bag.main([bag, "--output", str(tmp_path / "fused"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "--allow-partial" in said and "reindex" not in said
    arguments = [bag, "--output", str(tmp_path / "fused"), "--allow-partial", "--quiet"]
    assert fuse_bag.main(arguments) == 0
    assert "warning: expected every message" in capsys.readouterr().err
    topics = {topic.name: topic.messages for topic in all_topics(str(tmp_path / "fused"))}
    assert 60 < topics["/fused/image_raw"] < 180


def test_every_command_takes_the_advice(tmp_path, capsys, monkeypatch):
    """Of bags whose counts differ; what else the commands say about them is not asked here."""
    bag = make_bag(tmp_path / "bag", write_pairs(tmp_path / "pairs", count=2), 0.2)
    edit_metadata(bag, "message_count: 6\n", "message_count: 7\n")

    def estimate(*arguments, **options):
        raise CalibrationError("enough")

    monkeypatch.setattr(calibrate, "estimate_homography", estimate)
    output = ["--output", str(tmp_path / "out.yaml")]
    for command, arguments in ((estimate_time_offset, [bag]), (calibrate, [bag, *output])):
        assert command.main(arguments) == 2
        assert "6 read, 7 by metadata.yaml" in capsys.readouterr().err
        command.main([*arguments, "--allow-partial"])
        said = capsys.readouterr().err
        assert said.count("warning: expected every message") == 1


def test_a_bag_without_images_is_not_answered_with_options(tmp_path, capsys):
    recording = Recording(tmp_path / "bag")
    recording.text("/chatter", START_NS, "hello")
    assert fuse_bag.main([recording.write(), "--output", str(tmp_path / "fused")]) == 1
    said = capsys.readouterr().err
    assert "no image topics" in said and "--ir-topic" not in said
