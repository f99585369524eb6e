"""`irvis_fusion make_bag`: the images, stamps and encodings asked for are in the bag."""

import cv2
import numpy as np
import pytest
from bag_recording import needs_rosbags
from made_bags import START_NS, write_pairs

from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.bags.bag import all_topics, image_topics, read_messages
from irvis_fusion_ros.commands import make_bag
from irvis_fusion_ros.messages.image_messages import decode, thermal_frame, view, visible_frame

pytestmark = needs_rosbags


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def made(tmp_path, *arguments):
    bag = str(tmp_path / "bag")
    assert make_bag.main([*arguments, "--output", bag, "--quiet"]) == 0
    return bag


def read(bag):
    ir, vis = [], []
    for message in read_messages(bag, [topic.name for topic in image_topics(bag)]):
        (ir if "/ir/" in message.topic else vis).append(message)
    return ir, vis


def image(pairs, stream, number):
    flags = cv2.IMREAD_COLOR if stream == "VIS" else cv2.IMREAD_UNCHANGED
    return cv2.imread(f"{pairs}/{stream}/{number % 6:02d}.png", flags)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_the_pairs_are_in_the_bag_at_their_times(tmp_path, pairs, storage):
    bag = made(tmp_path, "--pairs", pairs, "--loops", "2", "--storage", storage)
    ir, vis = read(bag)
    assert len(ir) == len(vis) == 12
    for number, (thermal, visible) in enumerate(zip(ir, vis)):
        at_ns = START_NS + round(number / 30 * 1e9)
        for message in (thermal, visible):
            assert message.recorded_ns == stamp_ns(message.message.header.stamp) == at_ns
        np.testing.assert_array_equal(view(visible.message), image(pairs, "VIS", number))
        np.testing.assert_array_equal(view(thermal.message), image(pairs, "IR", number))
    assert [topic[:3] for topic in all_topics(bag)] == [
        ("/ir/camera_info", "sensor_msgs/msg/CameraInfo", 12),
        ("/ir/image_raw", "sensor_msgs/msg/Image", 12),
        ("/vis/camera_info", "sensor_msgs/msg/CameraInfo", 12),
        ("/vis/image_raw", "sensor_msgs/msg/Image", 12),
    ]


def test_a_slow_thermal_camera_with_a_wrong_clock(tmp_path, pairs):
    options = ["--ir-rate-hz", "9", "--ir-offset-s", "0.3", "--ir-delay-s", "0.04"]
    ir, vis = read(made(tmp_path, "--pairs", pairs, "--frames", "60", *options))
    assert len(vis) == 60 and len(ir) == 18
    for number, message in enumerate(ir):
        assert stamp_ns(message.message.header.stamp) - START_NS == round((number / 9 + 0.3) * 1e9)
        assert message.recorded_ns - START_NS == round((number / 9 + 0.04) * 1e9)
        shown = int(number / 9 * 30 + 0.5)
        np.testing.assert_array_equal(view(message.message), image(pairs, "IR", shown))


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "bgra8", "rgba8", "bayer_rggb8"])
def test_visible_encodings_come_back_as_the_image(tmp_path, pairs, encoding):
    _, vis = read(made(tmp_path, "--pairs", pairs, "--vis-encoding", encoding))
    for number, message in enumerate(vis):
        assert message.message.encoding == encoding
        pixels, order = visible_frame(message.message)
        given = image(pairs, "VIS", number)
        expected = given[..., ::-1] if order == "rgb" else given
        if encoding == "mono8":
            expected = cv2.merge([cv2.cvtColor(given, cv2.COLOR_BGR2GRAY)] * 3)
        inside = (slice(4, -4), slice(4, -4))
        difference = cv2.absdiff(np.ascontiguousarray(pixels), np.ascontiguousarray(expected))
        # Interpolating a mosaic of a smooth image is off by a little.
        assert difference[inside].mean() <= (6 if encoding == "bayer_rggb8" else 0)


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "32FC1"])
def test_8_bit_images_become_counts_on_a_straight_line(tmp_path, pairs, encoding):
    ir, _ = read(made(tmp_path, "--pairs", pairs, "--ir-encoding", encoding))
    for number, message in enumerate(ir):
        grey = image(pairs, "IR", number).astype(np.float64)
        counts = np.rint(29315 + grey * 2000 / 255)
        found = thermal_frame(message.message)
        assert found.dtype == (np.float32 if encoding == "32FC1" else np.uint16)
        expected = counts / 100 if encoding == "32FC1" else counts
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_16_bit_images_stay_as_they_are_also_as_tiff_and_through_png(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 3, dtype=np.uint16)
    for number in range(3):
        path = tmp_path / "pairs" / "IR" / f"{number:02d}.png"
        counts = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".tiff")), counts)
    form = ["--ir-encoding", "mono16", "--ir-codec", "png", "--pairs", pairs]
    ir, vis = read(made(tmp_path, *form))
    assert {message.topic for message in ir} == {"/ir/image_raw/compressed"}
    for number, message in enumerate(ir):
        counts = cv2.imread(f"{pairs}/IR/{number:02d}.tiff", cv2.IMREAD_UNCHANGED)
        pixels, encoding = decode(message.message)
        np.testing.assert_array_equal(pixels, counts)
        assert encoding == "mono16"


def test_sizes_topics_and_calibration_are_as_asked_for(tmp_path, pairs):
    options = ["--ir-size", "32x24", "--ir-topic", "/boson/image", "--ir-frame-id", "boson"]
    wide = ["--vis-codec", "jpeg", "--vis-field-of-view-deg", "90", "--ir-no-camera-info"]
    bag = made(tmp_path, "--pairs", pairs, *options, *wide)
    assert [topic.name for topic in all_topics(bag)] == [
        "/boson/image",
        "/vis/camera_info",
        "/vis/image_raw/compressed",
    ]
    messages = list(read_messages(bag, ["/boson/image"], ["/vis/camera_info"]))
    info = next(m.message for m in messages if m.topic == "/vis/camera_info")
    # 90 degrees: half the width away, half the width is seen.
    np.testing.assert_allclose(info.k, [32, 0, 31.5, 0, 32, 23.5, 0, 0, 1], atol=1e-9)
    assert (info.width, info.height, info.header.frame_id) == (64, 48, "vis_optical_frame")
    ir = next(m.message for m in messages if m.topic == "/boson/image")
    assert (ir.width, ir.height, ir.header.frame_id) == (32, 24, "boson")


def test_still_scenes_stand_before_both_cameras(tmp_path, pairs):
    options = ["--pairs-hz", "2", "--vis-rate-hz", "20", "--ir-rate-hz", "8", "--loops", "2"]
    ir, vis = read(made(tmp_path, "--pairs", pairs, *options))
    assert len(vis) == 120 and len(ir) == 48
    for stream, messages in (("IR", ir), ("VIS", vis)):
        for message in messages:
            shown = (message.recorded_ns - START_NS + 1000) // 500_000_000
            np.testing.assert_array_equal(view(message.message), image(pairs, stream, shown))


def test_stamps_of_a_loop_begin_anew_while_recording_goes_on(tmp_path, pairs):
    _, vis = read(made(tmp_path, "--pairs", pairs, "--frames", "60", "--loop-stamps", "1"))
    stamps = [stamp_ns(message.message.header.stamp) for message in vis]
    assert stamps[30:] == stamps[:30]
    recorded = [message.recorded_ns for message in vis]
    assert recorded == sorted(set(recorded))


def test_the_same_seed_gives_the_same_messages_and_another_one_others(tmp_path, pairs):
    hard = ["--jitter-s", "0.01", "--vis-drop", "0.2", "--ir-drop", "0.3", "--frames", "40"]
    seen = []
    for run, seed in enumerate(("1", "1", "2")):
        folder = tmp_path / str(run)
        folder.mkdir()
        bag = made(folder, "--pairs", pairs, *hard, "--seed", seed)
        names = [topic.name for topic in all_topics(bag)]
        seen.append([message[:4] for message in read_messages(bag, (), names)])
    assert seen[0] == seen[1] != seen[2]


def test_without_pairs_a_street_is_drawn(tmp_path):
    ir, vis = read(made(tmp_path, "--frames", "3", "--vis-size", "64x48", "--compress"))
    assert len(vis) == 3 and vis[0].message.width == 64 and ir[0].message.width == 640
    assert not np.array_equal(vis[0].message.data, vis[2].message.data)


@pytest.mark.parametrize(
    "arguments,said",
    [
        (["--ir-codec", "jpeg", "--ir-encoding", "mono16"], "png takes 16 bits"),
        (["--ir-codec", "png", "--ir-encoding", "32FC1"], "raw alone takes floats"),
        (["--jitter-s", "0.02"], "half a period"),
        (["--ir-topic", "vis/image_raw"], "two topics"),
        (["--ir-topic", "/my camera"], "a topic's name"),
        (["--ir-counts", "9:9"], "LOW < HIGH"),
        (["--start-s", "-5"], "start above 0"),
        (["--pairs-hz", "-1"], "pairs a second"),
        (["--pairs", "/nowhere"], "no such folder"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    tmp_path, pairs, capsys, arguments, said
):
    given = ["--pairs", pairs, "--output", str(tmp_path / "bag"), *arguments]
    assert make_bag.main(given) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--ir-gap", "3:2"], ["--frames", "0"], ["--ir-counts", "a:b"], ["--vis-drop"]]
)
def test_what_is_no_number_is_refused_by_the_parser(tmp_path, arguments):
    with pytest.raises(SystemExit) as caught:
        make_bag.main(["--output", str(tmp_path / "bag"), *arguments])
    assert caught.value.code == 2
