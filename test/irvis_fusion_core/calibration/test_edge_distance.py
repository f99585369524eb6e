"""The measure reads known displacements, and nothing into images that have nothing in common."""

import numpy as np
import pytest
from two_cameras import scene, truth

from irvis_fusion_core.calibration.edge_distance import edge_distance, edges


def moved(dx, dy):
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]) @ truth()


def test_the_true_homography_lies_within_a_pixel_and_better_than_chance():
    ir, vis = scene(1)
    found = edge_distance(ir, vis, truth())
    assert found.median_px <= 1.2 and found.counterparts > 0.6
    assert found.chance_median_px > 2 * found.raw_median_px


@pytest.mark.parametrize("pixels", [3.0, 6.0])
def test_a_known_displacement_is_read_along_the_normals(pixels):
    """Edges of all directions lie |cos| of the displacement away: 0.71 of it in the median."""
    ir, vis = scene(1)
    step = pixels / np.sqrt(2)
    distance = edge_distance(ir, vis, moved(step, step)).median_px
    assert 0.45 * pixels <= distance <= 0.95 * pixels


def test_an_alignment_by_chance_finds_no_counterparts():
    ir, vis = scene(1)[0], scene(12)[1]
    found = edge_distance(ir, vis, truth())
    assert np.isinf(found.median_px) and found.counterparts < 0.1


def test_an_image_without_edges_has_no_distance():
    ir, vis = scene(1)
    assert edge_distance(np.full_like(ir, 50), vis, truth()).edges == 0
    away = edge_distance(ir, vis, moved(1000, 0))
    assert away.edges == 0 and np.isinf(away.median_px)


def test_edges_are_thin_and_lie_on_a_step():
    step = np.zeros((64, 64), np.uint8)
    step[:, 32:] = 200
    thin, angles = edges(step, 1.0)
    assert set(np.nonzero(thin[5:-5])[1]) <= {31, 32}
    assert abs(np.sin(angles[30, 31])) < 1e-3
