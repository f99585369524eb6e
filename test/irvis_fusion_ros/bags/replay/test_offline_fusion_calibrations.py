"""Registration out of a bag: from its calibrations and static transforms, and followed online."""

import types

import numpy as np
import pytest
from bag_recording import Recording, needs_rosbags
from made_bags import START_NS, ReferenceFusion, make_bag, write_pairs

from irvis_fusion_core.registration.camera_model import camera_from_info
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_ros.bags.bag import TF_TYPE, read_messages
from irvis_fusion_ros.bags.bag_topics import FusionTopics, find_topics
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import make_header
from irvis_fusion_ros.bags.replay.offline_fusion import FUSED, OfflineFusion
from irvis_fusion_ros.messages.image_messages import thermal_frame
from irvis_fusion_ros.parameters.settings_file import load_settings
from irvis_fusion_ros.pipeline.current_stages import make_registration
from irvis_fusion_ros.pipeline.known_cameras import Cameras

pytestmark = needs_rosbags
CALIBRATION = [
    "registration.mode:=calibration",
    "registration.depth_m:=5.0",
    "registration.translation_m:=[0.2, 0.0, 0.0]",
    "thermal.method:=none",
]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    return make_bag(folder / "bag", write_pairs(folder / "pairs"), 0.5, ir_rate_hz=10.0)


def walked(bag, changes, topics=None):
    fusion = OfflineFusion(load_settings(changes=changes), ReferenceFusion())
    return fusion, list(fusion.walk(bag, topics or find_topics(bag)))


def expected_ir(bag, settings, extrinsics=None):
    """The first thermal image by the core, and where the thermal camera sees nothing."""
    topics = find_topics(bag)
    messages = list(read_messages(bag, [topics.ir], [topics.ir_info, topics.vis_info]))
    infos = {message.topic: message.message for message in messages}
    cameras = Cameras(
        camera_from_info(infos[topics.ir_info], "ir", False),
        camera_from_info(infos[topics.vis_info], "vis", False),
        extrinsics,
    )
    first = next(message.message for message in messages if message.topic == topics.ir)
    grey = ThermalRescale(method="none")(thermal_frame(first))
    return make_registration(settings, cameras).warp(grey, (48, 64))


def test_calibrations_are_taken_from_the_bag(bag):
    fusion, frames = walked(bag, CALIBRATION)
    assert {frame.outcome for frame in frames} == {FUSED}
    ir, coverage = expected_ir(bag, fusion.settings)
    np.testing.assert_array_equal(frames[0].pair.coverage, coverage)
    assert 0.5 < np.mean(coverage > 0) < 0.99  # shifted by 0.2 m / 5 m * 55 pixels: 2.2
    inside = coverage == 255
    np.testing.assert_array_equal(frames[0].ir[inside], ir[inside])
    outside = coverage == 0
    np.testing.assert_array_equal(frames[0].fused[outside], frames[0].vis[outside])
    assert fusion.events == {}


def test_without_calibrations_the_visible_image_passes_and_it_is_told(bag):
    images_alone = FusionTopics(*find_topics(bag)[:2])
    fusion, frames = walked(bag, CALIBRATION, images_alone)
    assert {frame.reason for frame in frames} == {"uncalibrated"}
    assert fusion.counts() == {"passed: uncalibrated": 15}
    assert "ir/camera_info" in fusion.events["registration"].text
    _, frames = walked(bag, [*CALIBRATION, "registration.fallback:=resize"], images_alone)
    assert {frame.outcome for frame in frames} == {FUSED}


def test_static_transforms_are_taken_from_the_bag(tmp_path, bag):
    changes = [*CALIBRATION, "registration.extrinsics:=tf"]
    _, frames = walked(bag, changes)
    assert {frame.reason for frame in frames} == {"uncalibrated"}
    path = tmp_path / "with_tf"
    transform = types.SimpleNamespace(
        translation=types.SimpleNamespace(x=0.2, y=0.0, z=0.0),
        rotation=types.SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
    )
    tree = types.SimpleNamespace(
        transforms=[
            types.SimpleNamespace(
                header=make_header(START_NS, "vis_frame"),
                child_frame_id="ir_frame",
                transform=transform,
            )
        ]
    )
    names = ["/ir/image_raw", "/ir/camera_info", "/vis/image_raw", "/vis/camera_info"]
    with BagWriter(path) as writer:
        writer.write_message("/tf_static", TF_TYPE, START_NS - 1, tree)
        for message in read_messages(bag, (), names):
            writer.write_raw(*message[:4])
    fusion, by_tf = walked(str(path), changes)
    _, by_parameters = walked(bag, CALIBRATION)
    for one, other in zip(by_tf, by_parameters):
        assert one.outcome == FUSED
        np.testing.assert_array_equal(one.ir, other.ir)
        np.testing.assert_array_equal(one.fused, other.fused)


def test_a_calibration_that_changes_is_followed(tmp_path, bag):
    names = ["/ir/image_raw", "/ir/camera_info", "/vis/image_raw", "/vis/camera_info"]
    with BagWriter(tmp_path / "zoomed") as writer:
        for message in read_messages(bag, (), names):
            late = message.recorded_ns > START_NS + 250_000_000
            if late and message.topic == "/ir/camera_info":
                info = message.message
                info.k = info.k * [2, 1, 1, 1, 2, 1, 1, 1, 1]
                writer.write_message(message.topic, message.type, message.recorded_ns, info)
            else:
                writer.write_raw(*message[:4])
    _, frames = walked(str(tmp_path / "zoomed"), CALIBRATION)
    _, steady = walked(bag, CALIBRATION)
    same = [np.array_equal(a.pair.coverage, b.pair.coverage) for a, b in zip(frames, steady)]
    assert all(same[:8]) and not any(same[10:])
    assert (frames[-1].pair.coverage > 0).mean() < 0.4 * (steady[-1].pair.coverage > 0).mean()


def test_online_alignment_gives_the_same_images_each_time(tmp_path):
    recording = Recording(tmp_path / "bag")
    random = np.random.default_rng(1)
    scene = (random.random((160, 200)) > 0.7).astype(np.uint8) * 255
    scene = np.kron(scene[:20, :25], np.ones((8, 8), np.uint8))
    for number in range(12):
        at_ns = START_NS + number * 100_000_000
        shifted = np.roll(scene, 3, axis=1)
        recording.image("/ir", at_ns, shifted, "mono8")
        recording.image("/vis", at_ns, np.dstack([scene] * 3), "rgb8")
    bag = recording.write()
    online = [
        "registration.mode:=online",
        "registration.online_base:=resize",
        "registration.online_motion:=shift",
        "registration.online_period_s:=0.1",
        "registration.online_smoothing_s:=0.2",
        "thermal.method:=none",
        "ir_frozen_after_s:=0.0",
    ]
    runs = [walked(bag, online)[1] for _ in range(2)]
    for one, other in zip(*runs):
        np.testing.assert_array_equal(one.ir, other.ir)
    error = [np.abs(frame.ir.astype(int) - scene).mean() for frame in runs[0]]
    assert error[-1] < 0.5 * error[0]  # it has been brought back
