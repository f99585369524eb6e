"""Measures of image faults on images with a known fault."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.metrics import image_faults as faults

RANDOM = np.random.default_rng(0)
SMOOTH = np.full((160, 200), 120, np.uint8)


def noisy(sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, SMOOTH.shape)
    return np.clip(np.rint(SMOOTH + noise), 0, 255).astype(np.uint8)


def test_noise_is_measured_on_flat_surfaces_alone():
    vis = SMOOTH.copy()
    vis[:, 100:] = RANDOM.integers(0, 255, (160, 100))
    flat = faults.flat_surfaces(SMOOTH, vis)
    assert flat[:, 10:80].all() and not flat[:, 110:].any()
    assert faults.noise(SMOOTH, flat) == 0.0
    # The blur takes 1 / (4 pi sigma^2) of the variance, twice that with its covariance.
    expected = 5.0 * np.sqrt(1 - 2 * 0.02 + 0.02)
    assert faults.noise(noisy(5.0), flat) == pytest.approx(expected, rel=0.05)
    assert np.isnan(faults.noise(SMOOTH, np.zeros_like(flat)))


def test_ripples_count_inside_the_sky_alone():
    vis = np.full((160, 200), 180, np.uint8)
    vis[80:] = RANDOM.integers(0, 120, (80, 200))
    sky = faults.sky(vis)
    assert sky[20:60, 20:180].all() and not sky[90:].any()
    assert faults.ripple(vis, sky) == pytest.approx(0.0, abs=0.01)
    wave = 6.0 * np.sin(np.arange(200) * 2 * np.pi / 50)
    rippled = np.clip(vis + wave, 0, 255).astype(np.uint8)
    assert faults.ripple(rippled, sky) == pytest.approx(6.0 / np.sqrt(2), rel=0.2)


def test_blocks_of_four_are_found_and_those_of_jpeg_are_not():
    base = cv2.resize(noisy(8.0), (200, 160))
    assert faults.block_border_ratio(base) == pytest.approx(1.0, abs=0.02)
    rows, columns = np.indices(base.shape)
    of_four = base + 6 * ((rows // 4 + columns // 4) % 2)
    assert faults.block_border_ratio(of_four.astype(np.uint8)) > 1.08
    of_eight = base + 6 * ((rows // 8 + columns // 8) % 2)
    assert faults.block_border_ratio(of_eight.astype(np.uint8)) == pytest.approx(1.0, abs=0.02)
    half = np.zeros(base.shape, bool)
    half[:, :100] = True
    of_four[:, :101] = base[:, :101]
    assert faults.block_border_ratio(of_four.astype(np.uint8), half) == pytest.approx(1, abs=0.03)
    assert np.isnan(faults.block_border_ratio(base, np.zeros(base.shape, bool)))


def test_surroundings_of_a_lamp_are_looked_at():
    vis = SMOOTH.copy()
    cv2.circle(vis, (100, 80), 15, 255, -1)
    beside = faults.beside_edges(SMOOTH, vis)
    assert beside[80, 122] and not beside[80, 115] and not beside[80, 160]


def test_saturation_is_kept_by_scaling_and_lost_by_added_luminance():
    vis = np.empty((100, 100, 3), np.uint8)
    vis[:] = (140, 70, 60)
    ir = np.full((100, 100), 220, np.uint8)
    assert faults.saturation_kept(vis, ir, vis) == pytest.approx(1.0)
    scaled = np.clip(vis * 1.8, 0, 255).astype(np.uint8)
    assert faults.saturation_kept(scaled, ir, vis) == pytest.approx(1.0, abs=0.03)
    grey = np.dstack([ir] * 3)
    assert faults.saturation_kept(grey, ir, vis) == pytest.approx(0.0, abs=0.01)
    coded = cv2.cvtColor(vis, cv2.COLOR_RGB2YCrCb)
    luma = coded[0, 0, 0]
    coded[..., 0] = 160
    added = cv2.cvtColor(coded, cv2.COLOR_YCrCb2RGB)
    assert faults.saturation_kept(added, ir, vis) == pytest.approx(luma / 160, abs=0.03)
    assert np.isnan(faults.saturation_kept(vis, np.zeros_like(ir), vis))


def test_a_moving_scene_is_warped_back():
    scene = cv2.GaussianBlur(RANDOM.integers(0, 256, (140, 240)).astype(np.uint8), (0, 0), 2.0)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    before, now = scene[:, 10:210].copy(), scene[:, 13:213].copy()
    flow = faults.backward_flow(now, before)
    assert np.median(flow[..., 0]) == pytest.approx(3.0, abs=0.2)
    inside = np.s_[20:-20, 20:-20]
    error = np.abs(faults.warped_to(before, flow).astype(float) - now)[inside].mean()
    assert error < 0.1 * np.abs(before.astype(float) - now)[inside].mean()
