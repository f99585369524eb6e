"""`irvis_fusion fuse_bag`: the bag that it writes, and what it says when it cannot."""

import json
import resource

import cv2
import numpy as np
import pytest
import yaml
from bag_recording import Recording, needs_rosbags, numbered_image
from made_bags import START_NS, ReferenceFusion, make_bag, write_pairs

from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.bag_place import MARK
from irvis_fusion_ros.commands import fuse_bag
from irvis_fusion_ros.messages.image_messages import decode, view

pytestmark = needs_rosbags
CAMERAS = ["/ir/camera_info", "/ir/image_raw", "/vis/camera_info", "/vis/image_raw"]
FUSED = ["/fused/camera_info", "/fused/image_raw"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def reference(monkeypatch):
    """The engine is the pixel-wise maximum."""
    monkeypatch.setattr(
        "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion",
        lambda settings, progress: ReferenceFusion(),
    )


def messages_of(bag, *images):
    """Every message of a bag, those of `images` and camera_info decoded."""
    names = [topic.name for topic in all_topics(str(bag))]
    return list(read_messages(str(bag), images, names))


def of_topic(bag, topic):
    images = [] if topic.endswith(("camera_info", "diagnostics")) else [topic]
    return [message for message in messages_of(bag, *images) if message.topic == topic]


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("pairing", ["latest_ir", "pair"])
def test_the_new_bag_is_the_old_one_with_the_fused_topic(
    tmp_path, pairs, reference, storage, pairing
):
    bag = make_bag(tmp_path / "bag", pairs, 1.0, storage, ir_rate_hz=9.0, ir_encoding="mono16")
    output = tmp_path / "deep" / "fused"
    parameters = ["-p", "pairing:=" + pairing, "-p", "limit_flicker:=false"]
    assert fuse_bag.main([bag, "--output", str(output), *parameters, "--quiet"]) == 0
    old, new = messages_of(bag), messages_of(output)
    times = [message.recorded_ns for message in new]
    assert times == sorted(times)
    assert [m[:4] for m in new if m.topic not in FUSED] == [m[:4] for m in old]
    vis = of_topic(output, "/vis/image_raw")
    fused = of_topic(output, "/fused/image_raw")
    infos = of_topic(output, "/fused/camera_info")
    assert len(vis) == len(fused) == len(infos) == 30
    for given, made, info in zip(vis, fused, infos):
        assert given.recorded_ns == made.recorded_ns == info.recorded_ns
        for other in (made, info):
            assert stamp_ns(other.message.header.stamp) == stamp_ns(given.message.header.stamp)
            assert other.message.header.frame_id == "vis_frame"
        assert (made.message.encoding, made.message.height) == ("bgr8", 48)
        assert (info.message.width, info.message.k[0]) == (64, pytest.approx(55.4, abs=0.1))
        assert (view(made.message) >= view(given.message)).all()
    changed = sum(given.raw != made.raw for given, made in zip(vis, fused))
    assert changed == (9 if pairing == "pair" else 30)
    assert not (tmp_path / "deep" / "fused.part").exists()


def test_two_runs_give_the_same_bytes_with_the_real_engine(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 1.0, seed=5, ir_jitter_s=0.01, vis_jitter_s=0.01)
    for name in ("one", "two"):
        output = str(tmp_path / name / "fused")
        assert fuse_bag.main([bag, "--output", output, "--storage", "mcap", "--quiet"]) == 0
    one, two = (tmp_path / name / "fused" for name in ("one", "two"))
    assert (one / "fused.mcap").read_bytes() == (two / "fused.mcap").read_bytes()
    assert (one / "metadata.yaml").read_bytes() == (two / "metadata.yaml").read_bytes()
    one = messages_of(one)
    raw = {m.recorded_ns: m.raw for m in one if m.topic == "/vis/image_raw"}
    fused = [m for m in one if m.topic == "/fused/image_raw"]
    assert sum(m.raw != raw[m.recorded_ns] for m in fused) >= 28


def test_the_thermal_image_and_jpeg_go_along_when_asked_for(tmp_path, pairs, reference):
    bag = make_bag(tmp_path / "bag", pairs, 0.5, vis_codec="jpeg", ir_gaps=((0.0, 0.2),))
    output = tmp_path / "fused"
    options = ["--copy", "none", "--transport", "compressed", "--with-ir", "--fused", "night"]
    options += ["-p", "limit_flicker:=false"]
    assert fuse_bag.main([bag, "--output", str(output), *options, "--quiet"]) == 0
    names = ["/night/camera_info", "/night/image_raw/compressed", "/night/ir"]
    assert [topic.name for topic in all_topics(str(output))] == names
    coded = of_topic(output, "/night/image_raw/compressed")
    given = of_topic(bag, "/vis/image_raw/compressed")
    infrared = {m.recorded_ns: m.message for m in of_topic(output, "/night/ir")}
    assert len(coded) == 15 and len(infrared) == 9
    for made, source in zip(coded, given):
        ir = infrared.get(made.recorded_ns)
        if ir is None:
            assert made.raw == source.raw  # passed as it came
            continue
        assert ir.header.frame_id == "vis_frame" and ir.encoding == "mono8"
        expected = np.maximum(view(ir)[..., None], decode(source.message)[0])
        difference = cv2.absdiff(decode(made.message)[0], expected)
        assert difference.mean() < 3


def test_diagnostics_tell_every_second_what_became_of_the_frames(tmp_path, pairs, reference):
    bag = make_bag(tmp_path / "bag", pairs, 4.0, vis_rate_hz=10.0, ir_gaps=((1.5, 2.9),))
    output = tmp_path / "fused"
    arguments = [bag, "--output", str(output), "--with-diagnostics", "--copy", "none"]
    assert fuse_bag.main([*arguments, "--storage", "mcap", "--quiet"]) == 0
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    arrays = [
        store.deserialize_cdr(message.raw, message.type)
        for message in of_topic(output, "/fused/diagnostics")
    ]
    assert [array.header.stamp.sec - START_NS // 10**9 for array in arrays] == [1, 2, 3]
    fusion, infrared = zip(*(array.status for array in arrays))
    assert [status.level for status in fusion] == [0, 1, 1]
    assert [status.message for status in infrared] == [
        "thermal camera: ok",
        "thermal camera: stale",
        "thermal camera: ok",
    ]
    values = {pair.key: pair.value for pair in fusion[1].values}
    assert values["fused of them"] == "7 of 10" and values["passed: ir_stale"] == "3"
    assert set(KEYS) <= set(values)
    assert values["visible rate (Hz)"] == "10.00" and values["fused"] == "18"


def test_the_foxglove_layout_names_topics_that_are_there(tmp_path, pairs, reference, request):
    bag = make_bag(tmp_path / "bag", pairs, 0.2)
    output = str(tmp_path / "fused")
    options = ["--with-ir", "--with-diagnostics", "--storage", "mcap", "--quiet"]
    assert fuse_bag.main([bag, "--output", output, *options]) == 0
    types = {topic.name: topic.type for topic in all_topics(output)}
    layout = json.loads((request.config.rootpath / "config/foxglove_layout.json").read_text())
    for name, panel in layout["configById"].items():
        if name.startswith("Image!"):
            assert types[panel["imageMode"]["imageTopic"]] == "sensor_msgs/msg/Image"
            calibration = panel["imageMode"]["calibrationTopic"]
            assert types[calibration] == "sensor_msgs/msg/CameraInfo"
        elif name.startswith("Diagnostic"):
            assert types[panel["topicToRender"]] == "diagnostic_msgs/msg/DiagnosticArray"
        else:
            for path in panel["paths"]:
                topic, _, key = path["value"].partition(".status[:].values[:]{key==")
                assert types[topic] == "diagnostic_msgs/msg/DiagnosticArray"
                assert key.partition("}")[0].strip('"') in KEYS
    shown = json.dumps(layout["layout"])
    assert all(name in shown for name in layout["configById"])


KEYS = ("largest skew (ms)", "visible rate (Hz)")


def test_chosen_topics_are_copied_and_unknown_types_too(tmp_path, reference):
    recording = Recording(tmp_path / "bag")
    for number in range(4):
        at_ns = START_NS + number * 33_000_000
        recording.image("/ir", at_ns, numbered_image(number, channels=1), "mono8")
        recording.image("/vis", at_ns, numbered_image(number), "rgb8")
        recording.text("/chatter", at_ns, f"word {number}")
    bag = recording.write()
    for copy, expected in (
        ("all", ["/chatter", "/ir", "/vis"]),
        ("cameras", ["/ir", "/vis"]),
        ("/chatter, /vis", ["/chatter", "/vis"]),
        ("none", []),
    ):
        output = str(tmp_path / "fused")
        assert fuse_bag.main([bag, "--output", output, "--overwrite", "--copy", copy]) == 0
        names = [topic.name for topic in all_topics(output)]
        assert [name for name in names if not name.startswith("/fused")] == expected
    metadata = yaml.safe_load((tmp_path / "fused/metadata.yaml").read_text())
    assert metadata["rosbag2_bagfile_information"]["storage_identifier"] == "sqlite3"


def test_the_summary_says_what_was_done(tmp_path, pairs, reference, capsys):
    bag = make_bag(tmp_path / "bag", pairs, 0.5, ir_gaps=((0.2, 0.3),))
    assert fuse_bag.main([bag, "--output", str(tmp_path / "fused")]) == 0
    said = capsys.readouterr().err
    assert "/ir/image_raw into /vis/image_raw" in said and "fused 15" in said
    assert "by reference with maximum" in said and str(tmp_path / "fused") in said


# --- bad input, bad output


def refused(capsys, *arguments, status=1):
    assert fuse_bag.main([str(argument) for argument in arguments]) == status
    said = capsys.readouterr().err
    assert said.startswith("irvis_fusion fuse_bag: ") and said.count("\n") == 1
    return said


def test_what_cannot_be_begun_is_refused_and_leaves_nothing(tmp_path, pairs, reference, capsys):
    bag = make_bag(tmp_path / "bag", pairs, 0.3)
    output = tmp_path / "fused"
    assert "found nothing" in refused(capsys, tmp_path / "no", "--output", output)
    topic = ["--vis-topic", "/rear"]
    assert "/vis/image_raw (Image, 9)" in refused(capsys, bag, "--output", output, *topic)
    copy = ["--copy", "/tf"]
    assert "sensor_msgs/msg/CameraInfo" in refused(capsys, bag, "--output", output, *copy)
    name = ["--fused", "/vis"]
    assert "--fused" in refused(capsys, bag, "--output", output, *name)
    name = ["--fused", "7 samurai"]
    assert "not a digit first" in refused(capsys, bag, "--output", output, *name)
    for itself in (bag, f"{bag}/", f"{bag}/bag.db3"):
        said = refused(capsys, itself, "--output", bag, "--overwrite")
        assert "choose another name" in said
    assert len(messages_of(bag)) == 36
    parameter = ["-p", "slop:=1"]
    assert "slop" in refused(capsys, bag, "--output", output, *parameter)
    (tmp_path / "file").write_text("")
    assert "writ" in refused(capsys, bag, "--output", tmp_path / "file" / "fused")
    assert not output.exists() and not (tmp_path / "fused.part").exists()


def test_an_output_that_is_there_stays_unless_it_is_a_bag_to_overwrite(
    tmp_path, pairs, reference, capsys
):
    bag = make_bag(tmp_path / "bag", pairs, 0.3)
    output = tmp_path / "fused"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    said = refused(capsys, bag, "--output", output)  # --overwrite would be refused, too
    assert "choose another name" in said and "--overwrite" not in said
    assert "something else" in refused(capsys, bag, "--output", output, "--overwrite")
    assert (output / "thesis.tex").read_text() == "years of work"
    old = make_bag(tmp_path / "old", pairs, 0.1)
    assert "--overwrite" in refused(capsys, bag, "--output", old)
    assert len(messages_of(old)) == 12
    assert fuse_bag.main([bag, "--output", old, "--overwrite", "--quiet"]) == 0
    assert len(of_topic(old, "/fused/image_raw")) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "fused", "old"]


def test_no_pairs_says_the_skew_and_what_would_do_and_keeps_what_passed(
    tmp_path, pairs, reference, capsys
):
    bag = make_bag(tmp_path / "bag", pairs, 1.0, ir_stamp_offset_s=0.4)
    said = refused(capsys, bag, "--output", tmp_path / "fused", "--quiet")
    assert "median +0.400 s" in said and "max_ir_age_s:=0.401" in said
    assert not (tmp_path / "fused").exists()
    kept = tmp_path / "fused.part" / "fused"
    assert len(of_topic(kept, "/fused/image_raw")) == 30
    assert "none to fuse" in (tmp_path / "fused.part" / MARK).read_text()
    offset = ["-p", "ir_time_offset_s:=-0.4", "--quiet"]
    assert fuse_bag.main([bag, "--output", str(tmp_path / "fused"), *offset]) == 0
    assert not (tmp_path / "fused.part").exists()


def test_an_mcap_file_that_is_cut_off_keeps_what_could_be_read(tmp_path, pairs, reference, capsys):
    bag = make_bag(tmp_path / "bag", pairs, 6.0, "mcap")  # two chunks
    file = tmp_path / "bag" / "bag.mcap"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(0.7 * len(whole))])
    said = refused(capsys, bag, "--output", tmp_path / "fused", "--quiet", status=2)
    assert "cut off" in said and "--allow-partial" in said
    assert not (tmp_path / "fused").exists()
    kept = of_topic(tmp_path / "fused.part" / "fused", "/fused/image_raw")
    assert 20 < len(kept) < 180
    assert "IncompleteBagError" in (tmp_path / "fused.part" / MARK).read_text()


def test_a_damaged_sqlite_bag_is_named_with_the_command_that_recovers_it(
    tmp_path, pairs, reference, capsys
):
    bag = make_bag(tmp_path / "bag", pairs, 2.0)
    file = tmp_path / "bag" / "bag.db3"
    whole = file.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    file.write_bytes(whole[:middle] + bytes(40 * 4096) + whole[middle + 40 * 4096 :])
    said = refused(capsys, bag, "--output", tmp_path / "fused", "--quiet", status=2)
    assert "incomplete" in said and f'`sqlite3 {file} ".recover" | sqlite3' in said
    assert not (tmp_path / "fused").exists()


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_disk_that_is_full_is_named_and_what_fits_is_kept(
    tmp_path, pairs, reference, capsys, storage
):
    bag = make_bag(tmp_path / "bag", pairs, 4.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, hard))
    try:
        options = ["--storage", storage, "--quiet"]
        said = refused(capsys, bag, "--output", tmp_path / "fused", *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"expected to write a bag to {tmp_path / 'fused'}" in said
    assert not (tmp_path / "fused").exists()
    assert (tmp_path / "fused.part" / MARK).exists()
    assert fuse_bag.main([bag, "--output", str(tmp_path / "fused"), "--quiet"]) == 0
    assert not (tmp_path / "fused.part").exists()


def test_an_interrupted_run_leaves_no_bag_of_that_name_and_the_next_starts_clean(
    tmp_path, pairs, monkeypatch
):
    engine = ReferenceFusion()
    fuse = engine.fuse_frame

    def interrupted(ir, vis, order, out):
        if len(engine.pairs) == 10:
            raise KeyboardInterrupt
        return fuse(ir, vis, order)

    monkeypatch.setattr(
        "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion",
        lambda settings, progress: engine,
    )
    engine.fuse_frame = interrupted
    bag = make_bag(tmp_path / "bag", pairs, 1.0)
    arguments = [bag, "--output", str(tmp_path / "fused"), "--quiet"]
    assert fuse_bag.main(arguments) == 130
    assert not (tmp_path / "fused").exists()
    kept = of_topic(tmp_path / "fused.part" / "fused", "/fused/image_raw")
    assert len(kept) == 10
    engine.pairs.clear()
    engine.fuse_frame = fuse
    assert fuse_bag.main(arguments) == 0
    assert len(of_topic(tmp_path / "fused", "/fused/image_raw")) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "fused"]
