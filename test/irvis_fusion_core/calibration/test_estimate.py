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


def test_a_mirrored_infrared_image_is_refused():
    ir, vis = scene(6)
    with pytest.raises(CalibrationError):
        estimate_homography([(np.ascontiguousarray(ir[:, ::-1]), vis)], scales=NEAR)


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
