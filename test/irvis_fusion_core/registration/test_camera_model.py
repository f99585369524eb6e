"""A camera's calibration: files and messages of ROS, lenses against OpenCV, other sizes."""

import types

import cv2
import numpy as np
import pytest

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration import make_registration
from irvis_fusion_core.registration.camera_geometry import quaternion_matrix
from irvis_fusion_core.registration.camera_model import (
    camera_from_info,
    make_camera,
    read_camera_file,
)

K = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
P = [480.0, 0.0, 310.0, 0.0, 0.0, 490.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]

# As camera_calibration writes it.
OST = """
image_width: 640
image_height: 480
camera_name: boson
camera_matrix:
  rows: 3
  cols: 3
  data: [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.2, 0.05, 0.001, -0.002, 0.0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
projection_matrix:
  rows: 3
  cols: 4
  data: [480.0, 0.0, 310.0, 0.0, 0.0, 490.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""


def info(**changes):
    """What has the fields of sensor_msgs/CameraInfo."""
    values = {
        "height": 480,
        "width": 640,
        "k": np.array(K),
        "p": np.array(P),
        "d": [-0.2, 0.05, 0.001, -0.002, 0.0],
        "distortion_model": "plumb_bob",
        "header": types.SimpleNamespace(frame_id="boson_optical"),
        "roi": types.SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0),
    }
    values.update(changes)
    return types.SimpleNamespace(**values)


def test_a_calibration_file_and_a_message_say_the_same(tmp_path):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    path = tmp_path / "ost.yaml"
    path.write_text(OST)
    for rectified in (False, True):
        read = read_camera_file(str(path), "ir", rectified)
        told = camera_from_info(info(), "ir", rectified)
        assert np.array_equal(read.matrix, told.matrix)
        assert np.array_equal(read.distortion, told.distortion)
        assert read.size == told.size == (480, 640)
        assert told.frame_id == "boson_optical"
        assert read.matrix[0, 0] == (480.0 if rectified else 500.0)
        assert read.distortion.any() != rectified


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "image_width: 640",
        OST.replace("camera_matrix", "cm"),
        "a: [",
        OST[:-60] + "]",
    ],
)
def test_what_is_no_calibration_file_is_refused_with_its_path(tmp_path, text):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    path = tmp_path / "ost.yaml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"ost\.yaml|projection"):
        read_camera_file(str(path), "ir", rectified=True)
    with pytest.raises(CalibrationError, match="missing"):
        read_camera_file(str(tmp_path / "missing.yaml"), "ir")
    with pytest.raises(CalibrationError, match="zero is not a regular file"):
        read_camera_file("/dev/zero", "ir")


@pytest.mark.parametrize(
    ("lens", "distortion"),
    [
        ("plumb_bob", (-0.2, 0.05, 0.001, -0.002, 0.0)),
        ("rational_polynomial", (-0.2, 0.05, 0.001, -0.002, 0.0, 0.01, 0.0, 0.0)),
        ("equidistant", (0.05, -0.01, 0.001, 0.0)),
        ("", ()),
    ],
)
def test_pixels_become_rays_and_rays_pixels(lens, distortion):
    camera = make_camera("vis", K, distortion, (480, 640), lens)
    pixels = np.array([[0.0, 0.0], [639.0, 10.0], [320.0, 240.0], [30.0, 470.0]])
    rays = camera.rays(pixels)
    assert camera.pixels(rays) == pytest.approx(pixels, abs=0.05)
    assert camera.widest_ray() >= np.linalg.norm(rays, axis=1).max()
    if lens == "equidistant":
        # The angle to the axis, not its tangent, grows with the distance in the image.
        angle = np.arctan(np.linalg.norm(rays[0]))
        bent = angle * (1 + 0.05 * angle**2 - 0.01 * angle**4 + 0.001 * angle**6)
        assert np.hypot(-319.5 / 500, -239.5 / 510) == pytest.approx(bent, rel=1e-6)


def test_a_region_of_interest_moves_the_centre_and_binning_is_a_smaller_image():
    roi = types.SimpleNamespace(x_offset=100, y_offset=40, height=240, width=320)
    camera = camera_from_info(info(roi=roi), "vis")
    assert camera.size == (240, 320)
    assert camera.matrix[:2, 2] == pytest.approx([219.5, 199.5])
    whole = types.SimpleNamespace(x_offset=0, y_offset=0, height=480, width=640)
    binned = camera_from_info(info(roi=whole), "vis").for_size("visible", (240, 320))
    assert binned.matrix[0, 0] == 250.0
    # The middle of the image stays the middle.
    assert binned.matrix[:2, 2] == pytest.approx([159.5, 119.5])
    with pytest.raises(CalibrationError, match="aspect"):
        binned.for_size("visible", (240, 240))


def test_binning_belongs_to_the_whole_image_or_is_in_k_already():
    for binning in ((2, 2), (4, 4)):
        told = info(binning_x=binning[0], binning_y=binning[1])
        camera = camera_from_info(told, "vis")
        assert camera.size == (480 // binning[1], 640 // binning[0])
        assert camera.matrix[0, 0] == 500.0 / binning[0]
        small = info(binning_x=binning[0], binning_y=binning[1], k=camera.matrix.ravel(), d=told.d)
        again = camera_from_info(small, "vis")
        np.testing.assert_array_equal(again.matrix, camera.matrix)
        assert again.size == camera.size
    uneven = camera_from_info(info(binning_x=2, binning_y=1), "vis")
    assert (uneven.size, uneven.matrix[0, 0], uneven.matrix[1, 1]) == ((480, 320), 250.0, 510.0)


def test_a_region_of_interest_is_taken_before_binning_and_may_be_in_k_already():
    roi = types.SimpleNamespace(x_offset=160, y_offset=120, height=240, width=320)
    camera = camera_from_info(info(roi=roi, binning_x=2, binning_y=2), "vis")
    assert camera.size == (120, 160)
    assert camera.matrix[:2, 2] == pytest.approx([79.5, 59.5])
    own = [500.0, 0, 160.0, 0, 510.0, 118.0, 0, 0, 1]
    assert camera_from_info(info(roi=roi, k=own), "vis").matrix[:2, 2] == pytest.approx([160, 118])


def test_a_projection_matrix_of_zeros_is_named_where_images_are_rectified():
    with pytest.raises(CalibrationError, match=r"projection matrix.*registration\.ir_rectified"):
        camera_from_info(info(p=np.zeros(12)), "ir", rectified=True)
    camera_from_info(info(p=np.zeros(12)), "ir")


def test_a_file_of_opencv_is_read_and_one_of_another_size_refused(tmp_path):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    path = tmp_path / "camera.yaml"
    matrix = "!!opencv-matrix\n  rows: 3\n  cols: 3\n  dt: d\n"
    text = OST.replace("camera_matrix:\n  rows: 3\n  cols: 3\n", "camera_matrix: " + matrix)
    path.write_text("%YAML:1.0\n---" + text)
    assert read_camera_file(str(path), "vis").matrix.ravel().tolist() == K
    path.write_text(OST.replace("319.5", "159.5").replace("239.5", "119.5"))
    with pytest.raises(
        CalibrationError, match=r"camera\.yaml.*belong to an image of about 319x239"
    ):
        read_camera_file(str(path), "vis")


@pytest.mark.parametrize("kind", ["fisheye", "equidistant", "Equidistant"])
def test_a_file_that_names_its_lens_as_camera_model_is_fisheye(tmp_path, kind):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    path = tmp_path / "ost.yaml"
    text = OST.replace("distortion_model: plumb_bob", f"camera_model: {kind}")
    path.write_text(text.replace("0.001, -0.002, 0.0]", "0.001, -0.002]"))
    assert read_camera_file(str(path), "vis").fisheye
    path.write_text(OST.replace("distortion_model: plumb_bob", f"distortion_model: {kind}"))
    assert read_camera_file(str(path), "vis").distortion.size == 4  # a zero fills up


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"k": [float("nan")] * 9}, "finite"),
        ({"distortion_model": "fov"}, "fov"),
        ({"d": [1.0, 2.0, 3.0]}, "distortion"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "0, 4 finite"),
        ({"k": [1.0, 0, 0, 0, 1, 0, 0, 0, 1]}, "not calibrated"),
        ({"k": [500.0, 0, 0, 0, 510, 0, 319.5, 239.5, 1]}, "row by row"),
        (
            {"roi": types.SimpleNamespace(x_offset=600, y_offset=0, height=240, width=320)},
            "region of interest.*within",
        ),
        ({"k": [250.0, 0, 160, 0, 250, 120, 0, 0, 1]}, "seems to belong to .*320x240"),
        ({"k": [1000.0, 0, 640, 0, 1000, 480, 0, 0, 1]}, "seems to belong to .*1280x960"),
        ({"width": 0}, "no image size .calibrated_ir_size is 0x480.: let its driver"),
        ({"k": [25.0, 0, 320, 0, 25, 240, 0, 0, 1]}, "not calibrated .* 25 and 25 pixels"),
        ({"k": [1e7, 0, 320, 0, 1e7, 240, 0, 0, 1]}, "not calibrated"),
        ({"k": [500.0, 0, 320, 0, 5000, 240, 0, 0, 1]}, "500 and 5000 pixels"),
        ({"k": [500.0, 0, 5000, 0, 500, 240, 0, 0, 1]}, "at 781% of the width"),
    ],
)
def test_unusable_messages_are_refused(changes, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        camera_from_info(info(**changes), "ir")


def test_a_fisheye_calibration_registers_where_opencv_projects():
    lens = np.array([0.08, -0.02, 0.003, 0.0])
    k_vis = np.array([[400.0, 0, 319.5], [0, 400, 239.5], [0, 0, 1]])
    registration = make_registration(
        "calibration",
        ir_matrix=K,
        vis_matrix=k_vis,
        rotation=np.eye(3),
        translation_m=[0.1, 0.0, 0.0],
        depth_m=4.0,
        calibrated_ir_size=(480, 640),
        calibrated_vis_size=(480, 640),
        vis_distortion=lens,
        vis_lens="equidistant",
        soft_edge_px=0.0,
    )
    ir = np.zeros((480, 640), np.uint8)
    ir[90:99, 80:89] = 255
    point = np.array([[(84 - 319.5) / 500 * 4, (94 - 239.5) / 510 * 4, 4.0]]) + [0.1, 0, 0]
    expected, _ = cv2.fisheye.projectPoints(point[None], np.zeros(3), np.zeros(3), k_vis, lens)
    warped, _ = registration.warp(ir, (480, 640))
    rows, columns = np.nonzero(warped > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(expected[0, 0]), abs=0.5)


def test_points_between_the_coarse_grid_are_where_each_pixel_would_be():
    def build(coarse):
        registration = make_registration(
            "calibration",
            ir_matrix=K,
            vis_matrix=K,
            rotation=quaternion_matrix((0.02, 0.0, 0.0, 1.0)),
            translation_m=[0.1, 0.0, 0.0],
            depth_m=5.0,
            calibrated_ir_size=(480, 640),
            calibrated_vis_size=(480, 640),
            ir_distortion=(-0.3, 0.1, 0.001, 0.001),
            vis_distortion=(-0.1, 0.02, 0.0, 0.0),
        )
        registration.coarse = coarse
        return registration

    ir = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (480, 640)).astype(np.uint8), (0, 0), 3
    )
    for size in ((480, 640), (241, 321)):
        (coarse, near), (fine, far) = (build(c).warp(ir, size) for c in (True, False))
        assert cv2.absdiff(coarse, fine)[(near > 0) & (far > 0)].max() <= 1
        assert np.mean((near > 0) != (far > 0)) < 0.002


def test_quaternions_are_those_of_ros():
    half = np.sqrt(0.5)
    # A quarter turn about z takes x to y.
    assert quaternion_matrix((0, 0, half, half)) @ [1, 0, 0] == pytest.approx([0, 1, 0])
    # Of any length, and by OpenCV's rotation vectors.
    axis, angle = np.array([1.0, 2.0, -0.5]) / np.sqrt(5.25), 0.7
    quaternion = [*(3 * np.sin(angle / 2) * axis), 3 * np.cos(angle / 2)]
    assert quaternion_matrix(quaternion) == pytest.approx(cv2.Rodrigues(angle * axis)[0])
    for wrong in ((0, 0, 0, 0), (1, 0, 0), (float("nan"), 0, 0, 1)):
        with pytest.raises(CalibrationError, match="quaternion"):
            quaternion_matrix(wrong)


def test_a_calibration_file_that_says_something_twice_is_refused(tmp_path):
    """yaml-cpp takes the first value, PyYAML the last."""
    path = tmp_path / "ost.yaml"
    path.write_text(OST + "image_width: 320\n")
    with pytest.raises(CalibrationError, match="'image_width' twice"):
        read_camera_file(str(path), "vis")
