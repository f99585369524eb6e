"""The figures of the calibration table against closed forms."""

import cv2
import numpy as np
from two_cameras import scene, truth

from benchmarks.calibration.homographies import (
    distances,
    random_homography,
    same_camera_homography,
    synthetic,
)
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration.camera_geometry import checked_homography, project, stretch


def test_stretching_keeps_the_borders_of_the_image():
    h = stretch((128, 160), (240, 320))
    np.testing.assert_allclose(
        project(h, [[-0.5, -0.5], [159.5, 127.5]]), [[-0.5] * 2, [319.5, 239.5]]
    )


def test_distances_are_those_of_a_shift():
    moved = np.array([[1, 0, 3.0], [0, 1, -4.0], [0, 0, 1]]) @ truth()
    found = distances(moved, truth(), (128, 160), (240, 320), 16)
    assert found.size > 20
    np.testing.assert_allclose(found, 5.0)


def test_a_camera_is_matched_with_its_own_cropped_and_scaled_image():
    vis = scene(1, shapes=150)[1][..., 0]
    h = np.array([[0.8, 0.02, -20], [-0.02, 0.8, -15], [0, 0, 1.0]])
    again = same_camera_homography(vis, cv2.warpPerspective(vis, h, (220, 160)))
    assert np.abs(project(again, [[60, 60]]) - project(h, [[60, 60]])).max() < 0.05
    assert same_camera_homography(vis, np.zeros((50, 50), np.uint8)) is None


def test_random_homographies_can_be_used_and_differ():
    rng = np.random.default_rng(0)
    first, second = (
        checked_homography(random_homography(rng, (120, 160)), (120, 160)) for _ in "ab"
    )
    assert np.abs(first - second).max() > 0.01


def test_the_synthetic_part_tells_refused_from_found(tmp_path):
    ir, vis = np.full((64, 64), 90, np.uint8), np.full((64, 64, 3), 90, np.uint8)
    write_image(str(tmp_path / "IR" / "a.png"), ir)
    write_image(str(tmp_path / "VIS" / "a.png"), vis)
    assert list(synthetic(tmp_path, 1)) == [("a", np.inf, np.inf)]
