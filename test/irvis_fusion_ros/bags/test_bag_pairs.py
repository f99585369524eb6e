"""Pairs out of a bag: the right topics, the nearest frames, images as they were recorded."""

from argparse import ArgumentParser

import cv2
import numpy as np
import pytest
from bag_recording import MS, START_NS, STORAGES, Recording, needs_rosbags, numbered_image, street

from irvis_fusion_core.demo.demo_pairs import DemoPairs
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.bag import BagError, read_images
from irvis_fusion_ros.bags.bag_pairs import BagPair, bag_pairs, write_pairs
from irvis_fusion_ros.bags.bag_topics import choose_topics, kind_by_name
from irvis_fusion_ros.commands.demo import add_bag_options, pairs_of_bag


@needs_rosbags
@pytest.mark.parametrize("storage", STORAGES)
def test_pairs_are_the_nearest_of_visible_size(tmp_path, storage):
    bag = street(tmp_path / "bag", storage, frames=9)
    pairs = list(bag_pairs(bag, choose_topics(bag)))
    assert [pair.stamp_ns for pair in pairs] == [START_NS + n * 33 * MS for n in (0, 3, 6)]
    for number, pair in zip((0, 3, 6), pairs):
        np.testing.assert_array_equal(pair.vis, numbered_image(number)[..., ::-1])
        assert pair.ir.shape == (24, 32) and pair.ir.dtype == np.uint8
        counts = numbered_image(number, 12, 16, 1, np.uint16).astype(np.float32)
        expected = cv2.resize(counts, (32, 24), interpolation=cv2.INTER_LINEAR)
        assert np.corrcoef(expected.ravel(), pair.ir.ravel())[0, 1] > 0.99
    assert len(list(bag_pairs(bag, choose_topics(bag), most=2))) == 2


@needs_rosbags
def test_the_last_frames_of_a_bag_pair_too(tmp_path):
    recording = Recording(tmp_path / "bag")
    recording.image("/ir", START_NS, numbered_image(0, channels=1), "mono8")
    recording.image("/vis", START_NS + 20 * MS, numbered_image(1), "rgb8")
    assert len(list(bag_pairs(recording.write(), ("/ir", "/vis")))) == 1


@needs_rosbags
def test_compressed_topics_pair_too_and_broken_frames_are_left_out(tmp_path):
    recording = Recording(tmp_path / "bag", "mcap")
    smooth = cv2.resize(numbered_image(1, 3, 4), (32, 24), interpolation=cv2.INTER_LINEAR)
    grey = cv2.imencode(".png", numbered_image(2, 24, 32, 1))[1].tobytes()
    for number in range(3):
        stamp_ns = START_NS + number * 100 * MS
        colour = cv2.imencode(".png", smooth)[1].tobytes()
        text = "bgr8; png compressed bgr8"
        recording.compressed(
            "/a/compressed", stamp_ns, colour[: 20 if number == 1 else None], text
        )
        recording.compressed("/ir/compressed", stamp_ns, grey, "mono8; png compressed mono8")
    bag = recording.write()
    topics = choose_topics(bag)
    assert topics == ("/ir/compressed", "/a/compressed")
    pairs = list(bag_pairs(bag, topics))
    assert [pair.stamp_ns for pair in pairs] == [START_NS, START_NS + 200 * MS]
    np.testing.assert_array_equal(pairs[0].vis, smooth[..., ::-1])


@needs_rosbags
def test_streams_apart_in_time_need_the_offset(tmp_path):
    recording = Recording(tmp_path / "bag")
    for number in range(3):
        stamp_ns = START_NS + number * 1000 * MS
        recording.image("/vis", stamp_ns, numbered_image(number), "rgb8")
        recording.image("/ir", stamp_ns + 300 * MS, numbered_image(number, channels=1), "mono8")
    bag = recording.write()
    with pytest.raises(BagError, match=r"within 0.05 s.*nearest two 0.300 s apart"):
        list(bag_pairs(bag, ("/ir", "/vis")))
    assert len(list(bag_pairs(bag, ("/ir", "/vis"), ir_time_offset_s=-0.3))) == 3


@needs_rosbags
def test_a_missing_topic_is_answered_with_those_that_are_there(tmp_path):
    bag = street(tmp_path / "bag")
    listed = r"/front/image_raw \(Image, 6\), /thermal/image_raw \(Image, 2\)"
    with pytest.raises(BagError, match="'/rear'.*" + listed):
        list(read_images(bag, ["/rear"]))
    with pytest.raises(BagError, match="'/rear'.*" + listed):
        choose_topics(bag, vis_topic="/rear")
    with pytest.raises(BagError, match="two topics"):
        choose_topics(bag, "/front/image_raw", "/front/image_raw")


@pytest.mark.parametrize(
    "topic,kind",
    [
        ("/ir/image_raw", "ir"),
        ("/camera/infra1/image_rect_raw", "ir"),
        ("/flir_boson/image16", "ir"),
        ("/thermal/image_color", "ir"),
        ("/flir/visible/image_raw", "vis"),
        ("/camera/color/image_raw/compressed", "vis"),
        ("/rgb_ir/ir/image_raw", "ir"),
        ("/rgb_ir/rgb/image_raw", "vis"),
        ("/image_color", "vis"),
        ("/camera/depth/image_rect_raw", "other"),
        ("/fused/image_raw", "other"),
        ("/front/image_raw", ""),
        ("/third/fire/stairs", ""),
    ],
)
def test_names_tell_the_kind(topic, kind):
    assert kind_by_name(topic) == kind


@needs_rosbags
@pytest.mark.parametrize(
    "cameras,expected",
    [
        ({"/ir": "mono8", "/vis": "mono8"}, ("/ir", "/vis")),
        ({"/a": "16UC1", "/b": "rgb8"}, ("/a", "/b")),
        ({"/a": "16UC1", "/b": "mono8"}, ("/a", "/b")),
        ({"/a": "mono8", "/b": "bayer_rggb8"}, ("/a", "/b")),
        ({"/ir": "mono8", "/a": "rgb8", "/depth/a": "16UC1"}, ("/ir", "/a")),
        ({"/a": "mono8", "/b": "mono8"}, "thermal and visible"),
        ({"/ir": "mono8", "/a": "rgb8", "/b": "rgb8"}, "tell the visible topic"),
        ({"/ir/a": "mono16", "/ir/b": "mono16", "/vis": "rgb8"}, "tell the thermal topic"),
        ({"/ir": "mono16"}, "tell the visible topic"),
    ],
)
def test_topics_are_guessed_or_asked_for(tmp_path, cameras, expected):
    recording = Recording(tmp_path / "bag")
    for topic, encoding in cameras.items():
        wide = encoding in ("16UC1", "mono16")
        pixels = numbered_image(
            1, 4, 4, 3 if encoding == "rgb8" else 1, np.uint16 if wide else np.uint8
        )
        recording.image(topic, START_NS, pixels, encoding)
    bag = recording.write()
    if isinstance(expected, tuple):
        assert choose_topics(bag) == expected
        assert choose_topics(bag, vis_topic=expected[1]) == expected
        return
    with pytest.raises(BagError, match=expected) as caught:
        choose_topics(bag)
    for name in ("DEMO_IR_TOPIC", "DEMO_VIS_TOPIC", *cameras):
        assert name in str(caught.value)


@needs_rosbags
def test_the_raw_transport_is_taken_where_both_were_recorded(tmp_path):
    recording = Recording(tmp_path / "bag")
    png = cv2.imencode(".png", numbered_image(1))[1].tobytes()
    recording.image("/vis", START_NS, numbered_image(1), "bgr8")
    recording.compressed("/vis/compressed", START_NS, png, "bgr8; png compressed bgr8")
    recording.image("/ir", START_NS, numbered_image(1, channels=1), "mono8")
    assert choose_topics(recording.write()) == ("/ir", "/vis")


def options_of(*arguments):
    parser = ArgumentParser()
    parser.add_argument("--pairs")
    parser.add_argument("--output")
    add_bag_options(parser)
    return parser.parse_args(arguments)


@needs_rosbags
def test_the_demo_shows_the_pairs_of_a_bag(tmp_path, monkeypatch, capsys):
    bag = street(tmp_path / "bag", ir="/a", vis="/b")
    monkeypatch.setenv("DEMO_BAG", bag)
    monkeypatch.setenv("DEMO_IR_TOPIC", "/a")
    monkeypatch.setenv("DEMO_VIS_TOPIC", "/b")
    options = options_of("--output", str(tmp_path / "out"))
    with pairs_of_bag(options):
        shown = list(DemoPairs(options.pairs).first(10))
    assert "2 pairs of /a and /b" in capsys.readouterr().out
    for pair, expected in zip(shown, bag_pairs(bag, ("/a", "/b"))):
        np.testing.assert_array_equal(pair.vis, expected.vis)
        np.testing.assert_array_equal(pair.ir, expected.ir)
    assert len(shown) == 2 and options.pairs is None
    assert list((tmp_path / "out").iterdir()) == []


def test_without_a_bag_pairs_stay_and_with_both_it_is_refused(monkeypatch):
    monkeypatch.delenv("DEMO_BAG", raising=False)
    options = options_of("--pairs", "folder")
    with pairs_of_bag(options):
        assert options.pairs == "folder"
    both = options_of("--pairs", "folder", "--bag", "bag")
    with pytest.raises(ConfigurationError, match="found both"), pairs_of_bag(both):
        raise AssertionError("entered")


def test_images_of_changing_size_become_the_first_ones(tmp_path):
    sizes = [(24, 32), (12, 16)]
    pairs = (BagPair(1, numbered_image(1, *s, 1), numbered_image(2, *s)) for s in sizes)
    assert write_pairs(pairs, str(tmp_path)) == 2
    shapes = [pair.vis.shape for pair in DemoPairs(str(tmp_path)).first(2)]
    assert shapes == [(24, 32, 3)] * 2
