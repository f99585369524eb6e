"""Flicker that remains after the motion of a video is taken out."""

import cv2
import numpy as np
import pytest

from training.evaluation.video import warped_flicker


@pytest.fixture
def moving():
    """Five frames of a texture that moves by two pixels a frame."""
    rng = np.random.default_rng(0)
    whole = cv2.resize(rng.integers(40, 200, (16, 24), dtype=np.uint8), (240, 160))
    return [np.ascontiguousarray(whole[20:140, x : x + 180]) for x in range(10, 20, 2)]


def test_moving_with_the_scene_is_no_flicker(moving):
    dark = [frame // 2 for frame in moving]
    assert warped_flicker(moving, dark, moving) < 0.2


def test_brightness_that_neither_source_shows_is(moving):
    """Every second frame six grey levels brighter: each change is six."""
    fused = [frame + np.uint8(6 * (n % 2)) for n, frame in enumerate(moving)]
    assert warped_flicker(fused, moving, moving) == pytest.approx(6.0, abs=0.5)
