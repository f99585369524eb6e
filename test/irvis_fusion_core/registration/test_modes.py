"""Registration against closed forms: shifts, scales, pinhole cameras, OpenCV's own warp."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.registration import (
    HomographyRegistration,
    fill_uncovered,
    make_registration,
)
from irvis_fusion_core.registration.camera_geometry import (
    expected_error_px,
    plane_homography,
    project,
)

SHIFT = [[1, 0, 10], [0, 1, 20], [0, 0, 1]]


def texture(height=96, width=128, seed=0):
    rng = np.random.default_rng(seed)
    plane = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 3)
    return cv2.normalize(plane, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)


def camera(focal, height, width):
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


# --- none and resize -----------------------------------------------------------------------


def test_none_passes_the_image_and_refuses_another_size():
    registration = make_registration()
    ir = texture()
    warped, coverage = registration.warp(ir, (96, 128))
    assert np.array_equal(warped, ir) and coverage is None
    with pytest.raises(FrameError, match=r"128x100.*128x96.*resize"):
        registration.warp(ir, (100, 128))


@pytest.mark.parametrize("size", [(192, 256), (48, 64), (96, 128), (150, 100)])
def test_resize_agrees_with_opencv(size):
    ir = texture()
    warped, coverage = make_registration("resize").warp(ir, size)
    smaller = size[0] < 96 and size[1] < 128
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    assert np.array_equal(warped, cv2.resize(ir, size[::-1], interpolation=method))
    assert coverage is None


# --- homography ----------------------------------------------------------------------------


def test_a_shift_moves_every_pixel_and_covers_what_it_reaches():
    ir = texture()
    registration = make_registration("homography", homography=SHIFT, soft_edge_px=0)
    warped, coverage = registration.warp(ir, (96, 128))
    assert np.array_equal(warped[20:, 10:], ir[:-20, :-10])
    expected = np.zeros((96, 128), np.uint8)
    expected[20:, 10:] = 255
    assert np.array_equal(coverage, expected)


def test_a_general_homography_agrees_with_warp_perspective():
    ir = texture(240, 320)
    homography = np.array([[1.3, 0.08, 15], [-0.05, 1.25, 9], [1e-4, -5e-5, 1]])
    registration = make_registration("homography", homography=homography.ravel().tolist())
    warped, coverage = registration.warp(ir, (300, 400))
    reference = cv2.warpPerspective(ir, homography, (400, 300))
    inside = coverage == 255
    assert inside.mean() > 0.5
    assert np.abs(warped.astype(int) - reference)[inside].max() <= 4


def test_coverage_rises_linearly_inwards_and_only_at_the_edge_of_ir():
    registration = make_registration("homography", homography=SHIFT, soft_edge_px=9)
    _, coverage = registration.warp(texture(), (96, 128))
    across = coverage[80, 10:25].astype(float)
    assert across == pytest.approx(np.minimum(np.arange(1, 16) / 10, 1) * 255, abs=0.51)
    assert (coverage[:20] == 0).all() and (coverage[:, :10] == 0).all()
    assert (coverage[60:, 60:] == 255).all()  # the visible image's own border


def test_ir_that_covers_everything_has_no_coverage_mask():
    larger = [[1.2, 0, -10], [0, 1.2, -8], [0, 0, 1]]
    _, coverage = make_registration("homography", homography=larger).warp(texture(), (96, 128))
    assert coverage is None


def test_maps_are_computed_once_for_each_pair_of_sizes(monkeypatch):
    registration = make_registration("homography", homography=SHIFT)
    calls = []
    build = registration._build
    monkeypatch.setattr(registration, "_build", lambda *key: calls.append(key) or build(*key))
    for size in [(96, 128), (96, 128), (192, 256), (96, 128)]:
        registration.warp(texture(), size)
    assert len(calls) == 2


def test_calibrations_scale_to_other_sizes_of_the_same_aspect():
    homography = np.array([[2.0, 0.02, 30], [-0.01, 2.0, -20], [1e-5, 2e-5, 1]])
    registration = HomographyRegistration(homography, (512, 640), (1000, 1500))
    points = np.array([[0, 0], [639, 0], [100, 400], [639, 511]], np.float64)
    half = (points + 0.5) / 2 - 0.5
    seen = (project(homography, points) + 0.5) / 2 - 0.5
    x, y, _ = registration.ir_points((256, 320), (500, 750), seen[:, 0], seen[:, 1])
    assert np.column_stack([x, y]) == pytest.approx(half, abs=1e-6)


def test_a_scaled_calibration_puts_a_warm_object_at_the_right_place():
    ir = np.zeros((256, 320), np.uint8)
    ir[96:128, 144:176] = 255  # 192..256, 288..352 at the calibrated size
    registration = make_registration(
        "homography",
        homography=[[2, 0, 100], [0, 2, -10], [0, 0, 1]],
        calibrated_ir_size=[512, 640],
        calibrated_vis_size=[1000, 1500],
    )
    warped, _ = registration.warp(ir, (1000, 1500))
    rows, columns = np.nonzero(warped > 127)
    # The centre (319.5, 223.5) at the calibrated size -> (739, 437).
    assert (columns.mean(), rows.mean()) == pytest.approx((739, 437), abs=0.6)


@pytest.mark.parametrize(
    ("ir_size", "vis_size", "camera_name"),
    [((480, 640), (1000, 1500), "IR"), ((512, 640), (1000, 1000), "visible")],
)
def test_another_aspect_is_refused_with_both_sizes(ir_size, vis_size, camera_name):
    registration = make_registration(
        "homography",
        homography=[[2, 0, 100], [0, 2, -10], [0, 0, 1]],
        calibrated_ir_size=(512, 640),
        calibrated_vis_size=(1000, 1500),
    )
    with pytest.raises(CalibrationError, match=f"{camera_name} image of .*aspect"):
        registration.warp(np.zeros(ir_size, np.uint8), vis_size)


@pytest.mark.parametrize(
    ("homography", "complaint"),
    [
        (np.zeros((3, 3)), "infinity|singular"),
        ([[1, 2, 3], [2, 4, 6], [0, 0, 1]], "singular"),
        ([[1e-9, 0, 0], [0, 1, 0], [0, 0, 1]], "singular"),
        ([[-1, 0, 639], [0, 1, 0], [0, 0, 1]], "mirror"),
        ([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]], "infinity"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, float("nan")]], "finite"),
        ([[1, 0], [0, 1]], "3x3"),
        ("identity", "3x3"),
    ],
)
def test_unusable_homographies_are_refused_at_once(homography, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        make_registration("homography", homography=homography)


def test_a_rotation_by_180_degrees_is_no_mirror():
    ir = texture()
    turned = [[-1, 0, 127], [0, -1, 95], [0, 0, 1]]
    warped, coverage = make_registration("homography", homography=turned).warp(ir, (96, 128))
    assert np.array_equal(warped, ir[::-1, ::-1]) and coverage is None


def test_a_homography_and_its_negative_are_the_same_map():
    ir = texture()
    one, two = (
        make_registration("homography", homography=sign * np.array(SHIFT, float)).warp(
            ir, (96, 128)
        )
        for sign in (1, -1)
    )
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def test_ir_outside_the_visible_image_is_refused():
    registration = make_registration("homography", homography=[[1, 0, 5000], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(CalibrationError, match="nowhere"):
        registration.warp(texture(), (96, 128))


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.floats(-1e3, 1e3, width=32), min_size=9, max_size=9))
def test_any_nine_numbers_give_an_image_or_a_calibration_error(numbers):
    try:
        warped, coverage = make_registration("homography", homography=numbers).warp(
            texture(), (60, 80)
        )
    except CalibrationError as error:
        assert "homography" in str(error) or "calibra" in str(error)
    else:
        assert warped.shape == (60, 80) and warped.dtype == np.uint8
        assert coverage is None or coverage.shape == (60, 80)


# --- calibration and depth -----------------------------------------------------------------


def test_expected_error_is_focal_length_times_baseline_times_inverse_depths():
    matrix = camera(768, 480, 640)
    errors = expected_error_px(
        matrix, matrix, np.eye(3), [0.10, 0, 0], 10.0, [2, 5, 10, 20], (480, 640)
    )
    expected = {z: 768 * 0.10 * abs(1 / z - 1 / 10) for z in (2, 5, 10, 20)}
    assert errors == pytest.approx(expected, abs=1e-6)
    # The figures that a person has in mind: 31, 8, 0, 4 pixels.
    assert [round(e) for e in errors.values()] == [31, 8, 0, 4]


def test_plane_homography_agrees_with_projecting_points_of_that_plane():
    k_ir, k_vis = camera(500, 512, 640), camera(1400, 1000, 1500)
    rotation, _ = cv2.Rodrigues(np.array([0.02, -0.03, 0.05]))
    translation = np.array([0.08, -0.02, 0.01])
    homography = plane_homography(k_ir, k_vis, rotation, translation, depth_m=6.0)
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-2, 2, (20, 2)), np.full(20, 6.0)])
    ir = points @ k_ir.T
    vis = (points @ rotation.T + translation) @ k_vis.T
    assert project(homography, ir[:, :2] / ir[:, 2:]) == pytest.approx(
        vis[:, :2] / vis[:, 2:], abs=1e-6
    )


def calibration(**changes):
    options = {
        "ir_matrix": camera(500, 512, 640),
        "vis_matrix": camera(900, 600, 900),
        "rotation": cv2.Rodrigues(np.array([0.01, -0.02, 0.03]))[0],
        "translation_m": [0.06, -0.01, 0.0],
        "depth_m": 5.0,
        "calibrated_ir_size": (512, 640),
        "calibrated_vis_size": (600, 900),
    }
    options.update(changes)
    return options


def test_without_distortion_calibration_equals_its_homography():
    options = calibration()
    ir = texture(512, 640)
    warped, coverage = make_registration("calibration", **options).warp(ir, (600, 900))
    homography = plane_homography(
        *(options[k] for k in ("ir_matrix", "vis_matrix", "rotation", "translation_m", "depth_m"))
    )
    plain, plain_coverage = make_registration("homography", homography=homography).warp(
        ir, (600, 900)
    )
    assert np.abs(warped.astype(int) - plain).max() <= 2
    assert (coverage is None) == (plain_coverage is None)


@pytest.mark.parametrize("scale", [1, 2])
def test_with_both_lenses_distorted_a_point_lands_where_both_cameras_see_it(scale):
    d_ir, d_vis = np.array([-0.25, 0.08, 1e-3, -5e-4]), np.array([-0.1, 0.02, 0, 0, 0.0])
    options = calibration(ir_distortion=d_ir, vis_distortion=d_vis)
    registration = make_registration("calibration", **options)
    turn, _ = cv2.Rodrigues(np.asarray(options["rotation"]))
    for point in ([0.0, 0.0, 5.0], [1.5, -1.0, 5.0], [-1.8, 1.2, 5.0]):
        point = np.array([point])
        ir_xy, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), options["ir_matrix"], d_ir)
        vis_xy, _ = cv2.projectPoints(
            point, turn, np.array(options["translation_m"]), options["vis_matrix"], d_vis
        )
        ir_xy = (ir_xy.ravel() + 0.5) / scale - 0.5
        vis_xy = (vis_xy.ravel() + 0.5) / scale - 0.5
        rows, columns = np.mgrid[: 512 // scale, : 640 // scale]
        spot = np.exp(-((columns - ir_xy[0]) ** 2 + (rows - ir_xy[1]) ** 2) / (2 * 4.0**2))
        warped, _ = registration.warp((255 * spot).astype(np.uint8), (600 // scale, 900 // scale))
        weight = warped.astype(float)
        found = [
            (weight * axis).sum() / weight.sum()
            for axis in np.mgrid[: warped.shape[0], : warped.shape[1]]
        ]
        assert found[::-1] == pytest.approx(vis_xy, abs=0.6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"depth_m": 0.0}, "depth_m"),
        ({"depth_m": float("nan")}, "depth_m"),
        ({"rotation": np.diag([1, 1, -1])}, "rotation"),
        ({"rotation": 2 * np.eye(3)}, "rotation"),
        ({"translation_m": [1, 2]}, "translation"),
        ({"ir_matrix": np.diag([0, 0, 1])}, "focal|singular"),
        ({"ir_distortion": [1, 2, 3]}, "ir_distortion"),
        ({"calibrated_ir_size": (512,)}, "calibrated_ir_size"),
    ],
)
def test_unusable_calibrations_are_refused(changes, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        make_registration("calibration", **calibration(**changes))


# --- filling and bad input -----------------------------------------------------------------


def test_uncovered_pixels_take_the_visible_luminance_with_a_soft_edge():
    ir, vis = np.full((4, 256), 200, np.uint8), np.full((4, 256), 40, np.uint8)
    coverage = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    filled = fill_uncovered(ir, vis, coverage)
    assert np.abs(filled - (40 + 160 * np.arange(256) / 255)).max() <= 1
    assert (filled[:, 0] == 40).all() and (filled[:, 255] == 200).all()


def test_filling_full_white_does_not_wrap_around():
    white = np.full((4, 256), 255, np.uint8)
    coverage = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    assert fill_uncovered(white, white, coverage).min() >= 254


def test_a_filled_frame_has_no_black_border():
    ir, vis = np.full((96, 128), 180, np.uint8), np.full((96, 128), 120, np.uint8)
    warped, coverage = make_registration("homography", homography=SHIFT).warp(ir, (96, 128))
    filled = fill_uncovered(warped, vis, coverage)
    assert filled.min() >= 119
    assert np.abs(np.diff(filled.astype(int), axis=1)).max() <= 60 / 17 + 2


def test_images_that_do_not_fit_are_refused():
    ir = texture()
    with pytest.raises(FrameError, match="one size"):
        fill_uncovered(ir, ir[:-1], ir)
    for mode, options in [("none", {}), ("resize", {}), ("homography", {"homography": SHIFT})]:
        with pytest.raises(FrameError, match="uint8 HxW"):
            make_registration(mode, **options).warp(ir.astype(np.uint16), (96, 128))


def test_modes_and_options_are_checked_by_name():
    with pytest.raises(ConfigurationError, match="homography"):
        make_registration("affine")
    with pytest.raises(CalibrationError, match="nine numbers"):
        make_registration("homography")
    with pytest.raises(ConfigurationError, match="depth"):
        make_registration("homography", homography=SHIFT, depth=3)
    with pytest.raises(ConfigurationError, match="soft_edge_px"):
        make_registration("homography", homography=SHIFT, soft_edge_px=-1)


def test_options_that_are_none_count_as_not_given_and_describe_says_what_is_used():
    registration = make_registration(
        "homography", homography=SHIFT, calibrated_ir_size=[], ir_matrix=None
    )
    assert registration.describe()["homography"] == SHIFT
    assert registration.mode == "homography"
