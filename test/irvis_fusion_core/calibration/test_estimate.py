"""The estimate against the homography that a drawn scene was made with, and what it refuses."""

import numpy as np
import pytest
from two_cameras import IR_SIZE, VIS_SIZE, corner_error, scene, truth

from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.errors import CalibrationError

# The true scale is 1.08: a narrow search saves time where the search is not the point.
NEAR = (0.9, 1.3)


def test_one_pair_of_unlike_images_gives_the_homography():
    found = estimate_homography([scene(1)])
    assert corner_error(found.homography, truth()) < 4.0
    assert (found.ir_size, found.vis_size, found.frames) == (IR_SIZE, VIS_SIZE, 1)
    assert found.median_px < 3.0 and found.coverage > 0.4


@pytest.mark.parametrize("aspect", [0.8, 1.0, 1.25])
def test_displaced_and_stretched_pairs_have_the_homography_they_were_made_with(aspect):
    stretched = truth() @ np.diag([aspect, 1.0, 1.0])
    found = estimate_homography([scene(5, stretched)], scales=(0.7, 1.5))
    assert corner_error(found.homography, stretched) < 4.0


def test_frames_of_one_rig_are_pooled_and_blank_ones_left_out():
    blank = (np.full(IR_SIZE, 90, np.uint8), scene(2)[1])
    found = estimate_homography([scene(2), blank, scene(3), scene(4)], scales=NEAR)
    assert (found.frames, found.left_out) == (3, 1)
    assert corner_error(found.homography, truth()) < 2.0
    alone = estimate_homography([scene(3)], scales=NEAR)
    assert found.inliers > 2 * alone.inliers


def test_images_of_different_scenes_are_refused():
    with pytest.raises(CalibrationError, match=r"use more frames"):
        estimate_homography([(scene(1)[0], scene(11)[1])], scales=NEAR)


def test_a_mirrored_infrared_image_is_refused_with_the_remedy():
    ir, vis = scene(6)
    mirrored = np.ascontiguousarray(ir[:, ::-1])
    with pytest.raises(CalibrationError, match="mirrored.*flip it in its driver"):
        estimate_homography([(mirrored, vis)], scales=NEAR)
    flipped = np.ascontiguousarray(mirrored[:, ::-1])
    assert corner_error(estimate_homography([(flipped, vis)], NEAR).homography, truth()) < 4.0


@pytest.mark.parametrize("turns", [2, 3])
def test_a_camera_on_its_side_or_upside_down_is_calibrated(turns):
    ir, vis = scene(6)
    turned = np.ascontiguousarray(np.rot90(ir, turns))
    found = estimate_homography([(turned, vis)], scales=NEAR)
    assert found.ir_size == turned.shape
    numbers = np.arange(ir.size).reshape(ir.shape)
    there = np.rot90(numbers, turns)  # which pixel of `ir` each one was
    rows, columns = (np.array([2, -3]) % side for side in turned.shape)
    points = np.array([[column, row, 1.0] for row in rows for column in columns])
    y, x = np.divmod(there[rows][:, columns].ravel(), ir.shape[1])
    expected = truth() @ np.stack([x, y, np.ones_like(x)])
    mapped = found.homography @ points.T
    assert np.abs(mapped[:2] / mapped[2] - expected[:2] / expected[2]).max() < 4.0


def test_repeated_pairs_are_no_further_evidence():
    said = []
    once = estimate_homography([scene(1)], scales=NEAR)
    often = estimate_homography([scene(1)] * 5, scales=NEAR, progress=said.append)
    assert (often.frames, often.inliers) == (1, once.inliers)
    assert "4 pairs are the same as others, and left out" in said


def test_images_without_contrast_are_refused_by_name():
    ir, vis = scene(1)
    with pytest.raises(CalibrationError, match=r"contrast in the IR image.*shutter"):
        estimate_homography([(np.full_like(ir, 7), vis)])
    with pytest.raises(CalibrationError, match=r"contrast in the visible image"):
        estimate_homography([(ir, np.full_like(vis, 7))])


def test_no_pairs_small_images_and_sizes_that_differ_are_refused():
    ir, vis = scene(1)
    with pytest.raises(CalibrationError, match="found none"):
        estimate_homography([])
    with pytest.raises(CalibrationError, match=r"160x128.*320x200"):
        estimate_homography([(ir, vis), (ir, vis[:200])])
    with pytest.raises(CalibrationError, match="48x48"):
        estimate_homography([(ir[:30], vis)])
