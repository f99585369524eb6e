"""The registration in use, as parameters, camera_info and transforms come and go."""

import sys
import types

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import numpy as np
import rclpy
from message_builders import link
from sensor_msgs.msg import CameraInfo

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_ros.node.reports.diagnostics import registration_status
from irvis_fusion_ros.node.topics.calibration_topics import CalibrationTopics
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline import current_stages
from irvis_fusion_ros.pipeline.current_stages import CurrentStages

IR_SIZE, VIS_SIZE = (120, 160), (240, 320)


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=99)
    node = rclpy.create_node("calibrations", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def rig(node):
    """Settings, calibrations and stages wired as in the node."""
    made = []

    def make(**changes):
        values = {"mode": "calibration", **changes}
        settings = LiveSettings(
            Settings.of({"registration." + name: value for name, value in values.items()})
        )
        calibrations = CalibrationTopics(
            node, settings, lambda name, callback: callback, lambda: stages.renew_registration()
        )
        made.append(calibrations)
        calibrations.follow()
        stages = CurrentStages(settings.current, calibrations.snapshot)
        return settings, calibrations, stages

    yield make
    for calibrations in made:
        calibrations.close()


def info(size, frame_id, focal_px=100.0):
    message = CameraInfo(height=size[0], width=size[1], distortion_model="plumb_bob")
    message.header.frame_id = frame_id
    message.k = [focal_px, 0.0, size[1] / 2 - 0.5, 0.0, focal_px, size[0] / 2 - 0.5, 0.0, 0.0, 1.0]
    return message


def status(settings, current):
    return registration_status(settings.current.registration.mode, current.stages)


def change(settings, calibrations, current, **values):
    """Change parameters as the node does."""
    new = settings.current.changed({name.replace("__", "."): v for name, v in values.items()})
    current.renew(new)
    settings.current = new
    calibrations.follow()
    if current.stages.problem:
        current.renew_registration()


def test_until_both_calibrations_are_there_the_visible_image_stands(rig):
    settings, calibrations, current = rig()
    assert current.stages.registration is None
    calibrations.add_info("vis", info(VIS_SIZE, "vis", 200.0))
    said = status(settings, current)
    assert said.level == b"\x01" and "/ir/camera_info" in said.message
    calibrations.add_info("ir", info(IR_SIZE, "ir"))
    assert current.stages.problem == "" and status(settings, current).level == b"\x00"
    # Twice the focal length in twice the image: the same view, so each IR pixel has its place.
    ir = np.zeros(IR_SIZE, np.uint8)
    ir[30:34, 50:54] = 200
    warped, _ = current.stages.registration.warp(ir, VIS_SIZE)
    assert np.argwhere(warped > 100).mean(axis=0) == pytest.approx([63.5, 103.5], abs=0.3)


def test_an_equal_calibration_changes_nothing_and_another_one_does(rig, monkeypatch):
    _, calibrations, current = rig()
    changes = []
    renew = current.renew_registration
    monkeypatch.setattr(current, "renew_registration", lambda: (changes.append(1), renew()))
    for _ in range(3):
        unknown = info(IR_SIZE, "ir")
        unknown.p = [float("nan")] * 12
        calibrations.add_info("ir", unknown)
        calibrations.add_info("vis", info(VIS_SIZE, "vis"))
    assert len(changes) == 2
    before = current.stages
    calibrations.add_info("vis", info(VIS_SIZE, "vis", 150.0))
    assert len(changes) == 3 and current.stages.registration is not before.registration
    # The thermal limits go on: they belong to the camera's past, not to its place.
    assert current.stages.thermal is before.thermal


def test_an_uncalibrated_camera_is_named(rig):
    settings, calibrations, current = rig()
    calibrations.add_info("ir", info(IR_SIZE, "ir", focal_px=0.0))
    calibrations.add_info("vis", info(VIS_SIZE, "vis"))
    assert "ir camera is not calibrated" in status(settings, current).message


def test_files_stand_in_for_topics(rig, tmp_path, monkeypatch):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    for name in ("FIRST_READ_S", "READ_S"):  # a busy machine takes longer
        monkeypatch.setattr(current_stages, name, 20.0)
    paths = {}
    for name, (height, width) in (("ir", IR_SIZE), ("vis", VIS_SIZE)):
        paths[name] = tmp_path / (name + ".yaml")
        matrix = [width, 0, width / 2, 0, width, height / 2, 0, 0, 1]
        paths[name].write_text(
            f"image_width: {width}\nimage_height: {height}\ncamera_matrix: {{data: {matrix}}}\n"
        )
    files = {name + "_calibration_file": str(path) for name, path in paths.items()}
    settings, _, current = rig(**files)
    missing = settings.current.changed(
        {"registration.vis_calibration_file": str(tmp_path / "none.yaml")}
    )
    before = current.stages
    with pytest.raises(CalibrationError, match=r"none\.yaml"):
        current.renew(missing)
    assert current.stages is before


def test_a_missing_transform_falls_back_and_says_so(rig, monkeypatch):
    for name in ("tf2_msgs", "tf2_msgs.msg"):
        monkeypatch.setitem(sys.modules, name, None)
    settings, calibrations, current = rig(extrinsics="tf", fallback="resize")
    calibrations.add_info("ir", info(IR_SIZE, "ir"))
    calibrations.add_info("vis", info(VIS_SIZE, "vis"))
    said = status(settings, current)
    assert said.level == b"\x01" and "tf2_msgs" in said.message and "resize" in said.message
    assert current.stages.registration.mode == "resize"
    # Said where to stand by parameters, it needs none.
    change(settings, calibrations, current, registration__extrinsics="parameters")
    assert current.stages.registration.mode == "calibration" and not current.stages.problem


def test_transforms_place_the_cameras_and_other_links_change_nothing(rig):
    settings, calibrations, current = rig(extrinsics="tf")
    calibrations._tf_problem = ""  # where the message package is missing, as it is here perhaps
    calibrations.add_info("ir", info(IR_SIZE, "ir_optical"))
    calibrations.add_info("vis", info(VIS_SIZE, "vis_optical"))
    assert "no static transform" in status(settings, current).message
    on_transforms = calibrations._on_transforms
    on_transforms(types.SimpleNamespace(transforms=[link("mount", "ir_optical", (0.2, 0, 0))]))
    on_transforms(types.SimpleNamespace(transforms=[link("mount", "vis_optical", (0.1, 0, 0))]))
    assert not current.stages.problem
    # 10 cm to the right at 10 m: one pixel of the 100 that are a radian.
    homography = np.array(current.stages.registration.describe()["homography"])
    assert homography[0, 2] == pytest.approx(159.5 - 79.5 + 1.0)
    before = current.stages
    on_transforms(types.SimpleNamespace(transforms=[link("mount", "lidar")]))
    assert current.stages is before
    change(settings, calibrations, current, registration__ir_frame="lidar")
    assert np.array(current.stages.registration.describe()["homography"])[0, 2] < 80.0


@pytest.mark.parametrize(
    ("homography", "complaint"),
    [([1, 2, 3, 2, 4, 6, 0, 0, 1], "singular"), ([-1, 0, 100, 0, 1, 0, 0, 0, 1], "mirrors")],
)
def test_a_bad_homography_at_the_start_leaves_the_visible_image(rig, homography, complaint):
    homography = [float(number) for number in homography]
    values = {"mode": "homography", "homography": homography, "fallback": "homography"}
    settings, calibrations, current = rig(**values)
    assert current.stages.registration is None
    said = status(settings, current)
    assert said.level == b"\x01" and complaint in said.message
    # That is no reason to refuse what has nothing to do with it.
    thermal = current.stages.thermal
    change(settings, calibrations, current, thermal__invert=True)
    assert current.stages.thermal is not thermal and complaint in current.stages.problem


def test_online_says_what_it_corrects(rig):
    settings, calibrations, current = rig(mode="online", online_base="resize")
    said = status(settings, current)
    assert (said.level, said.values["mode"], said.values["base"]) == (b"\x00", "online", "resize")
    assert said.message == "online: calibrated"
    # What it has found stays when the thermal part changes.
    registration = current.stages.registration
    change(settings, calibrations, current, thermal__smoothing_s=5.0)
    assert current.stages.registration is registration
    # Without the calibrations that it would correct, it is not online at all.
    change(settings, calibrations, current, registration__online_base="calibration")
    assert current.stages.registration is None and "camera_info" in current.stages.problem
