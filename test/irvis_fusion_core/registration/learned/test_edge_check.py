"""The check of a displaced image: better edges are taken, others are not."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.registration.learned.field_filter import EdgeCheck


@pytest.fixture
def scene():
    random = np.random.default_rng(0)
    return cv2.resize(random.integers(0, 256, (30, 40), dtype=np.uint8), (640, 480))


def moved(image, x):
    return cv2.warpAffine(image, np.array([[1.0, 0.0, x], [0.0, 1.0, 0.0]]), (640, 480))


def test_an_image_that_fits_better_is_used_and_one_that_fits_worse_is_not(scene):
    thermal = 255 - scene  # the sign of contrast does not matter
    assert EdgeCheck()(moved(thermal, 12), thermal, scene, None)
    assert not EdgeCheck()(thermal, moved(thermal, 12), scene, None)
    assert not EdgeCheck()(thermal, thermal, scene, None)


def test_noise_never_fits_better(scene):
    random = np.random.default_rng(1)
    for _ in range(5):
        noise = random.integers(0, 256, scene.shape, dtype=np.uint8)
        assert not EdgeCheck()(noise, moved(noise, 9), scene, None)


def test_a_field_in_use_stays_for_a_smaller_gain(scene):
    """Between two thresholds the answer is that of before."""
    thermal = 255 - scene
    between = None
    for shift in np.arange(0.1, 6.0, 0.1):
        check = EdgeCheck(remembers=False)
        check(moved(thermal, shift), thermal, scene, None)
        if 0.012 < check.gain < 0.018:
            between = moved(thermal, shift)
            break
    assert between is not None
    check, alone = EdgeCheck(), EdgeCheck(remembers=False)
    assert not check(between, thermal, scene, None)
    for each in (check, alone):
        assert each(moved(thermal, 12), thermal, scene, None)
    assert check(between, thermal, scene, None)
    assert not alone(between, thermal, scene, None)


def test_pixels_without_thermal_data_do_not_count(scene):
    thermal = 255 - scene
    known = np.zeros(scene.shape, np.uint8)
    known[:, 320:] = 255
    left_alone = moved(thermal, 12)
    left_alone[:, 320:] = thermal[:, 320:]
    assert not EdgeCheck()(left_alone, thermal, scene, known)
