"""The walk over a bag does what the node does, always the same, and gives every frame once."""

import types

import cv2
import numpy as np
import pytest
from bag_recording import Recording, needs_rosbags
from made_bags import START_NS, ReferenceFusion, make_bag, write_pairs

from irvis_fusion_core.errors import ConfigurationError, EngineError
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_ros.bags.bag import BagError, read_messages
from irvis_fusion_ros.bags.bag_topics import FusionTopics, find_topics
from irvis_fusion_ros.bags.replay.offline_advice import why_nothing_fused
from irvis_fusion_ros.bags.replay.offline_fusion import DROPPED, FUSED, PASSED, OfflineFusion
from irvis_fusion_ros.messages.image_messages import view
from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.parameters.settings_file import load_settings

pytestmark = needs_rosbags
NS = 1_000_000_000
TOPICS = FusionTopics("/ir/image_raw", "/vis/image_raw")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def walked(bag, *changes, topics=TOPICS, engine=None):
    fusion = OfflineFusion(load_settings(changes=changes), engine or ReferenceFusion())
    return fusion, list(fusion.walk(bag, topics))


# --- intake, processor and output of the node do the same with the same frames

HARD_TIMES = {
    "slow_ir": {"ir_rate_hz": 9.0, "ir_encoding": "mono16"},
    "jitter": {"ir_jitter_s": 0.01, "vis_jitter_s": 0.012, "ir_dropped_share": 0.3},
    "gap": {"ir_gaps": ((0.5, 1.2),), "vis_dropped_share": 0.1},
    "frozen": {"ir_frozen": ((0.3, 1.5),), "ir_encoding": "32FC1"},
    "late_stamps": {"ir_stamp_offset_s": 0.4},
}


@pytest.mark.parametrize("times", sorted(HARD_TIMES))
@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("on_ir_loss:=hold", "hold_s:=0.3"),
        ("on_ir_loss:=stop",),
        ("pairing:=pair", "slop_s:=0.02"),
        ("pairing:=pair", "slop_s:=0.01", "on_unpaired:=drop", "on_ir_loss:=hold"),
        ("limit_flicker:=false",),
    ],
)
def test_every_frame_is_the_nodes(tmp_path, pairs, monkeypatch, times, changes):
    pytest.importorskip("sensor_msgs", reason="the node needs ROS: pip install '.[ros]'")
    fast = ("ir_frozen_after_s:=0.5", "ir_missing_after_s:=0.5", "max_ir_age_s:=0.2")
    bag = make_bag(tmp_path / "bag", pairs, 2.0, seed=3, **HARD_TIMES[times])
    fusion, frames = walked(bag, *fast, *changes)
    outcomes, published = run_node(monkeypatch, bag, load_settings(changes=(*fast, *changes)))
    mine = {name: count for name, count in fusion.counts().items() if ":" in name or name == FUSED}
    assert mine == outcomes
    sent = [frame for frame in frames if frame.outcome != DROPPED]
    assert [frame.vis_stamp_ns for frame in sent] == [stamp_ns for stamp_ns, _ in published]
    for frame, (_, data) in zip(sent, published):
        assert bytes(frame.message.data) == data


class Pumping(ReferenceFusion):
    """Every second image is brighter, whatever the cameras show."""

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        fused = super().fuse_frame(ir, vis, order)
        return cv2.add(fused, np.full(fused.shape, 20 * (len(self.pairs) % 2), np.uint8))


def test_flicker_is_limited_as_the_core_does_in_the_node_and_out_of_a_bag(tmp_path, monkeypatch):
    pytest.importorskip("sensor_msgs", reason="the node needs ROS: pip install '.[ros]'")
    still = write_pairs(tmp_path / "still", count=1)
    bag = make_bag(tmp_path / "bag", still, 1.0)
    changes = ("ir_frozen_after_s:=0.0", "thermal.method:=none")
    _, pumping = walked(bag, *changes, "limit_flicker:=false", engine=Pumping())
    _, steady = walked(bag, *changes, engine=Pumping())
    limiter, expected = FlickerLimiter(), []
    for frame in pumping:
        if frame.outcome != FUSED:  # before the first thermal frame
            expected.append(frame.fused)
            continue
        image = frame.fused.copy()
        expected.append(limiter.limit(image, frame.ir, frame.vis, frame.vis_stamp_ns / NS))
    assert sum(frame.outcome == FUSED for frame in steady) > 25
    for frame, image in zip(steady, expected):
        np.testing.assert_array_equal(frame.fused, image)
    apart = [np.ptp([frame.fused.mean() for frame in row[2:]]) for row in (pumping, steady)]
    assert apart[0] > 15 and apart[1] < 6
    settings = load_settings(changes=changes)
    _, published = run_node(monkeypatch, bag, settings, Pumping())
    assert [bytes(frame.message.data) for frame in steady] == [data for _, data in published]


def run_node(monkeypatch, bag, settings, engine=None):
    """The outcomes, and what is published, of the node's classes at the bag's own times."""
    from irvis_fusion_ros.node import frame_path
    from irvis_fusion_ros.node.engine_state import READY, EngineState
    from irvis_fusion_ros.node.frame_output import FrameOutput, Publishers
    from irvis_fusion_ros.node.overload import Overload
    from irvis_fusion_ros.node.worker import Delivery
    from irvis_fusion_ros.pipeline.current_stages import CurrentStages
    from irvis_fusion_ros.pipeline.message_checks import MessageChecks
    from irvis_fusion_ros.pipeline.pair_fuser import PairFuser

    now_ns, published = [0], []
    steady = types.SimpleNamespace(
        monotonic_ns=lambda: now_ns[0], monotonic=lambda: now_ns[0] / NS
    )
    monkeypatch.setattr(frame_path, "time", steady)
    monkeypatch.setattr("irvis_fusion_core.streams.health.time", steady)

    def publish(raw):
        message = SerializedImage(raw)
        stamp = message.header.stamp
        published.append((stamp.sec * NS + stamp.nanosec, bytes(message.data)))

    def note(kind, text):
        """Forget it."""

    topic = types.SimpleNamespace(publish=publish, get_subscription_count=lambda: 1)
    silent = types.SimpleNamespace(publish=lambda message: None, get_subscription_count=lambda: 0)
    live = LiveSettings(settings)
    output = FrameOutput(Publishers(topic, silent, None, live, note), live, note)
    state = EngineState(lambda name, reason: None)
    state.set(READY)
    fuser = PairFuser(engine or ReferenceFusion())
    fuser.warm_up((48, 64))  # offline the engine warms up before the first frame
    path = frame_path.FramePath(
        live,
        MessageChecks(note),
        output,
        Overload(live, note),
        CurrentStages(settings),
        state,
        lambda: fuser,
        note,
        lambda: now_ns[0],
        lambda latencies: None,
        lambda: None,
    )
    path.worker.mailbox = types.SimpleNamespace(
        accepts=lambda now_s: True,
        put=lambda decision, *rest: path.process(fuser, Delivery(decision, [])),
        give_back=lambda: [],
        is_full=False,
    )
    last_ns = START_NS
    for message in read_messages(bag, TOPICS[:2]):
        for tick_ns in range(last_ns + 10_000_000, message.recorded_ns, 10_000_000):
            now_ns[0] = tick_ns
            path.expire()
        now_ns[0] = last_ns = message.recorded_ns
        path.expire()
        (path.add_ir if message.topic == TOPICS.ir else path.add_vis)(message.message)
    for _ in range(200):
        now_ns[0] += 10_000_000
        path.expire()
    return output.outcomes.counts(), published


# --- what it promises by itself


@pytest.mark.parametrize("pairing", ["latest_ir", "pair"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_every_visible_frame_comes_once_and_the_fused_image_is_the_engines(
    tmp_path, pairs, pairing, storage
):
    bag = make_bag(tmp_path / "bag", pairs, 1.0, storage, ir_rate_hz=10.0, ir_phase_s=0.002)
    fusion, frames = walked(
        bag, "pairing:=" + pairing, "thermal.method:=none", "limit_flicker:=false"
    )
    assert [frame.index for frame in frames] == list(range(30))
    assert {frame.outcome for frame in frames} == {FUSED, PASSED}
    assert frames[-1].counts == fusion.counts()
    assert sum(count for name, count in fusion.counts().items() if "." not in name) == 30
    for frame in frames:
        number = frame.index % 6
        vis = cv2.imread(f"{pairs}/VIS/{number:02d}.png")[..., ::-1]
        np.testing.assert_array_equal(frame.vis, vis)
        if frame.outcome == PASSED:
            assert frame.message.raw == frame.source.raw
            np.testing.assert_array_equal(frame.fused, vis)
            assert frame.ir is None and frame.pair is None and frame.ir_stamp_ns is None
            continue
        ir_number = round((frame.ir_stamp_ns - START_NS) / NS * 30) % 6
        ir = cv2.imread(f"{pairs}/IR/{ir_number:02d}.png", cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(frame.ir, ir)
        np.testing.assert_array_equal(frame.fused, np.maximum(ir[..., None], vis))
        np.testing.assert_array_equal(view(frame.message)[..., ::-1], frame.fused)
        assert frame.message.encoding == "bgr8" and frame.pair.timings.engine_ms > 0
        skew_s = (frame.ir_stamp_ns - frame.vis_stamp_ns) / NS
        assert frame.skew_s == pytest.approx(skew_s, abs=1e-9)


def test_two_walks_give_the_same_bytes(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 2.0, seed=7, **HARD_TIMES["jitter"])
    runs = [walked(bag, "pairing:=pair")[1] for _ in range(2)]
    for one, other in zip(*runs):
        assert bytes(one.message.data) == bytes(other.message.data)
        for name in ("outcome", "reason", "ir_stamp_ns", "skew_s", "ir_health", "counts"):
            assert getattr(one, name) == getattr(other, name)


def test_compressed_images_are_fused_and_pass_decoded(tmp_path, pairs):
    bag = make_bag(
        tmp_path / "bag", pairs, 1.0, ir_codec="png", vis_codec="png", ir_gaps=((0.0, 0.5),)
    )
    topics = find_topics(bag)
    assert topics.vis == "/vis/image_raw/compressed"
    assert topics.vis_info == "/vis/camera_info" and topics.ir_info == "/ir/camera_info"
    _, frames = walked(bag, "limit_flicker:=false", topics=topics)
    assert {frame.outcome for frame in frames[:15]} == {PASSED}
    assert {frame.outcome for frame in frames[16:]} == {FUSED}
    for frame in frames:
        vis = cv2.imread(f"{pairs}/VIS/{frame.index % 6:02d}.png")
        expected = vis if frame.outcome == PASSED else np.maximum(frame.ir[..., None], vis)
        np.testing.assert_array_equal(view(frame.message), expected)
        assert frame.message.encoding == "bgr8"


def test_bad_images_are_counted_and_cost_no_others(tmp_path):
    recording = Recording(tmp_path / "bag")
    sound = np.full((8, 8, 3), 9, np.uint8)
    for number in range(6):
        stamp_ns = START_NS + number * 33_000_000
        grey = np.full((8, 8), 10 + number, np.uint8)
        recording.image("/ir", stamp_ns, grey, "mono8", **({"step": 3} if number == 2 else {}))
        fields = {3: {"height": 99}}.get(number, {})
        shown = np.zeros((4, 4, 3), np.uint8) if number == 5 else sound
        encoding = "mystery" if number == 1 else "rgb8"
        recording.image("/vis", stamp_ns + 1, shown, encoding, **fields)
    fusion, frames = walked(recording.write(), topics=FusionTopics("/ir", "/vis"))
    assert [(frame.outcome, frame.reason) for frame in frames] == [
        (FUSED, "fused"),
        (PASSED, "unusable_pair"),
        (FUSED, "fused"),
        (DROPPED, "vis_short_data"),
        (FUSED, "fused"),
        (FUSED, "fused"),
    ]
    assert frames[1].vis is None and frames[1].message.encoding == "mystery"
    assert frames[3].message is None and frames[3].vis_stamp_ns == START_NS + 99_000_001
    assert {kind: event.times for kind, event in fusion.events.items()} == {
        "vis: unknown_encoding": 1,
        "pair: unknown_encoding": 1,
        "ir: wrong_step": 1,
        "vis: short_data": 1,
        "vis: size changed": 1,
    }
    assert "from 8x8 to 4x4" in fusion.events["vis: size changed"].text
    assert fusion.engine.warmed == [(8, 8), (4, 4)]


def test_stamps_of_zero_pass_and_are_told(tmp_path):
    recording = Recording(tmp_path / "bag")
    for number in range(3):
        at_ns = START_NS + number * 33_000_000
        grey = np.full((8, 8), number, np.uint8)
        recording.image("/ir", at_ns, grey, "mono8")
        recording.image("/vis", 0, grey, "mono8", recorded_ns=at_ns)
    fusion, frames = walked(recording.write(), topics=FusionTopics("/ir", "/vis"))
    assert [frame.reason for frame in frames] == ["zero_stamp"] * 3
    assert fusion.events["vis: zero stamp"].times == 3


def test_a_bag_whose_stamps_begin_anew_pairs_in_each_round(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 3.0, loop_stamps=1.0, ir_rate_hz=10.0)
    fusion, frames = walked(bag, "pairing:=pair")
    fused = [frame.index % 30 for frame in frames if frame.outcome == FUSED]
    assert fused == [*range(0, 30, 3)] * 3
    assert fusion.events["vis: stamp went back"].times == 2


def test_a_failing_engine_ends_the_walk(tmp_path, pairs):
    def fail(ir, vis, order, out):
        raise EngineError("out of memory")

    fusion = OfflineFusion(load_settings(), ReferenceFusion())
    fusion.engine.fuse_frame = fail
    with pytest.raises(EngineError):
        list(fusion.walk(make_bag(tmp_path / "bag", pairs), TOPICS))


def test_only_its_own_engine_is_closed(monkeypatch):
    engine = ReferenceFusion()
    with OfflineFusion(load_settings(), engine):
        pass
    assert engine.closed == 0
    monkeypatch.setattr(
        "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion",
        lambda settings, progress: engine,
    )
    with OfflineFusion(load_settings()):
        pass
    assert engine.closed == 1


# --- advice where nothing pairs


APART = {
    "latest_ir": ("max_ir_age_s", {"ir_stamp_offset_s": 0.4}),
    "pair": ("slop_s", {"ir_phase_s": 0.08, "ir_rate_hz": 4.0, "vis_rate_hz": 4.0}),
}


@pytest.mark.parametrize("policy", sorted(APART))
def test_streams_apart_are_answered_with_the_skew_and_what_would_do(tmp_path, pairs, policy):
    limit, times = APART[policy]
    bag = make_bag(tmp_path / "bag", pairs, 3.0, **times)
    fusion, frames = walked(bag, "pairing:=" + policy)
    assert FUSED not in {frame.outcome for frame in frames}
    text = why_nothing_fused(fusion.counts(), fusion.skews, fusion.settings)
    skew = {"latest_ir": "+0.400", "pair": "+0.080"}[policy]
    assert f"median {skew}" in text and limit + " is" in text
    changes = [word.rstrip(",") for word in text.split() if ":=" in word]
    assert [change.partition(":=")[0] for change in changes] == [limit, "ir_time_offset_s"]
    for change in changes:
        fused = walked(bag, "pairing:=" + policy, change, "max_wait_s:=1")[0].counts()[FUSED]
        assert fused >= len(frames) - 2, change


def test_a_wrong_clock_is_told_whatever_the_policy(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 3.0, ir_stamp_offset_s=-0.7, ir_rate_hz=9.0)
    fusion, _ = walked(bag, "pairing:=pair")
    text = why_nothing_fused(fusion.counts(), fusion.skews, fusion.settings)
    offset = next(word for word in text.split() if word.startswith("ir_time_offset_s:="))
    assert float(offset.rstrip(",").partition(":=")[2]) == pytest.approx(0.7, abs=0.02)
    assert walked(bag, "pairing:=pair", offset.rstrip(","))[0].counts()[FUSED] >= 26


def test_a_camera_of_another_size_is_told_and_not_the_skew(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 0.5)
    fusion, frames = walked(bag, "ir_width:=640", "ir_height:=512", "pairing:=pair")
    assert {frame.reason for frame in frames} == {"ir_wrong_size"}
    assert "64x48, expected 640x512" in fusion.events["ir_wrong_size"].text
    assert ":=" not in why_nothing_fused(fusion.counts(), fusion.skews, fusion.settings)


def test_without_thermal_frames_there_is_no_skew_to_tell(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 0.5, ir_gaps=((0.0, 0.45),), ir_rate_hz=2.2)
    fusion, frames = walked(bag)
    text = why_nothing_fused(fusion.counts(), fusion.skews, fusion.settings)
    assert "passed: ir_missing" in text and ":=" not in text


def test_missing_and_wrong_topics_are_answered_with_those_that_are_there(tmp_path, pairs):
    bag = make_bag(tmp_path / "bag", pairs, 0.1)
    listed = r"/ir/image_raw \(Image, 3\).*/vis/camera_info \(sensor_msgs/msg/CameraInfo\)"
    with pytest.raises(BagError, match="'/rear'.*" + listed):
        walked(bag, topics=FusionTopics("/ir/image_raw", "/rear"))
    with pytest.raises(BagError, match="it is a sensor_msgs/msg/CameraInfo.*" + listed):
        walked(bag, topics=FusionTopics("/ir/image_raw", "/vis/camera_info"))


def test_parameters_that_do_not_go_together_are_refused_before_the_engine_opens():
    settings = load_settings(changes=["thermal.low_percent:=90", "thermal.high_percent:=10"])
    with pytest.raises(ConfigurationError):
        OfflineFusion(settings)
