"""The errors of a homography and the made rig, against closed forms and drawn scenes."""

import numpy as np
import pytest
from two_cameras import IR_SIZE, VIS_SIZE, scene, truth

from benchmarks import calibration_accuracy
from benchmarks.calibration.true_homographies import PointErrors, TruePair, one_rig, point_errors
from irvis_fusion_core.errors import CalibrationError


def test_the_error_of_a_shift_is_its_length_at_640_pixels():
    moved = np.array([[1, 0, 3.0], [0, 1, -4.0], [0, 0, 1]]) @ truth()
    found = point_errors(moved, truth(), IR_SIZE, VIS_SIZE)
    np.testing.assert_allclose(found, [5.0 * 640 / VIS_SIZE[1]] * 2)


def test_pairs_of_one_rig_have_the_homography_that_is_told():
    pairs = [TruePair("a", *scene(1), truth()), TruePair("b", *scene(2), truth())]
    rig = one_rig(pairs, np.random.default_rng(0), (240, 320))
    first, second = (each.homography for each in rig)
    np.testing.assert_array_equal(first, second)
    found = calibration_accuracy.found_by(calibration_accuracy.boardless, rig)
    assert calibration_accuracy.errors_of(found, rig[0]).median_px < 3.0


def test_refused_pairs_are_counted_and_not_averaged():
    def refuse(images):
        raise CalibrationError("no")

    pair = TruePair("a", *scene(1), truth())
    none = calibration_accuracy.errors_of(calibration_accuracy.found_by(refuse, [pair]), pair)
    rows = calibration_accuracy.summary("x", [none, PointErrors(1.0, 3.0)])
    assert rows == {"x": ["2", "1", "1.00", "1.00", "3.00", "3.00"]}
    assert calibration_accuracy.summary("y", [none]) == {"y": ["1", "1"] + ["-"] * 4}


def test_an_estimator_can_be_named():
    name = "irvis_fusion_core.calibration.estimate:estimate_homography"
    assert calibration_accuracy.named(name).__name__ == "estimate_homography"
    with pytest.raises(AttributeError):
        calibration_accuracy.named("irvis_fusion_core.calibration.estimate:nothing")


def test_mutual_information_prefers_the_true_homography():
    ir, vis = scene(1)
    moved = np.array([[1, 0, 6.0], [0, 1, -4.0], [0, 0, 1]]) @ truth()
    assert not calibration_accuracy.fits_better(moved, TruePair("a", ir, vis, truth()))
    assert calibration_accuracy.fits_better(truth(), TruePair("a", ir, vis, moved))
