"""The search against correlation summed up directly, and a known place."""

import numpy as np
from two_cameras import scene, truth

from irvis_fusion_core.calibration.coarse_search import Placed, search, surfaces, transforms
from irvis_fusion_core.calibration.oriented_gradients import double_angle_field, grey


def test_the_surface_is_the_normalised_correlation_of_the_overlap():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 20, (30, 40)).astype(np.float32), rng.normal(0, 20, (24, 28))
    b = b.astype(np.float32)
    fields = double_angle_field(a), double_angle_field(b)
    mask = np.ones(b.shape, bool)
    size = (96, 96)
    spectra = [transforms(fields[0], np.ones(a.shape, bool), size)]
    surface, score = surfaces([Placed(b, mask, np.eye(3))], spectra, a.shape, size)
    for dy, dx in ((0, 0), (3, 5), (-4, 9), (6, -7)):
        ys, xs = slice(max(0, dy), min(30, 24 + dy)), slice(max(0, dx), min(40, 28 + dx))
        part = fields[0][ys, xs]
        other = fields[1][ys.start - dy : ys.stop - dy, xs.start - dx : xs.stop - dx]
        norm = np.sqrt((abs(part) ** 2).sum() * (abs(other) ** 2).sum())
        expected = (part * other.conj()).real.sum() / norm
        np.testing.assert_allclose(surface[dy % 96, dx % 96], expected, atol=2e-4)
        np.testing.assert_allclose(
            score[dy % 96, dx % 96], expected * np.sqrt(part.size), atol=0.02
        )


def test_the_best_place_is_the_true_one_and_reversed_contrast_is_the_same():
    ir, vis = (grey(p) for p in scene(1))
    probe = np.array([80.0, 64.0, 1.0])
    expected = (truth() @ probe)[:2] / (truth() @ probe)[2]
    for image in (ir, 255.0 - ir):
        best = search([(image, vis)], [1.9, 2.0, 2.1, 2.2])[0]
        assert np.linalg.norm((best.matrix @ probe)[:2] - expected) < 8.0


def test_an_empty_image_has_no_place():
    assert search([(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32))], [1.0]) == []
