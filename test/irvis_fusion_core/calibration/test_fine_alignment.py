"""The fit against homographies that matches were made with, among wrong ones."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.calibration.block_matching import Matches
from irvis_fusion_core.calibration.fine_alignment import fit_homography
from irvis_fusion_core.registration.camera_geometry import project

TRUTH = np.array([[1.01, 0.02, 3.0], [-0.015, 0.99, -2.0], [1e-5, -8e-6, 1.0]])


def matches(count, wrong, noise=0.2, flat=None, seed=0):
    rng = np.random.default_rng(seed)
    at = rng.uniform((0, 0), (640, 480), (count, 2))
    found = project(TRUTH, at) + rng.normal(0, noise, (count, 2))
    found[:wrong] += rng.uniform(-40, 40, (wrong, 2))
    precision = np.tile(np.eye(2), (count, 1, 1))
    if flat is not None:  # these know their row only: they slide along x
        found[flat, 0] += rng.uniform(-1.5, 1.5, flat.size)
        precision[flat, 0, 0] = 1e-3
    return Matches(at, found, np.ones(count), precision)


def corner_error(homography):
    corners = np.array([[0, 0], [639, 0], [639, 479], [0, 479.0]])
    return np.linalg.norm(project(homography, corners) - project(TRUTH, corners), axis=1).max()


def test_a_third_of_wrong_matches_does_not_move_it():
    fit = fit_homography(matches(300, 100), 2.0, np.eye(3), (480, 640), (480, 640))
    assert corner_error(fit.homography) < 0.4
    assert fit.inliers[100:].all() and fit.inliers[:100].mean() < 0.1


def test_matches_that_know_one_direction_only_count_in_that_one():
    flat = np.arange(0, 200)
    fit = fit_homography(matches(300, 0, 0.1, flat), 3.0, np.eye(3), (480, 640), (480, 640))
    assert corner_error(fit.homography) < 0.5


def test_matches_in_a_corner_do_not_bend_the_rest():
    """Without its prior the perspective of 24 noisy matches in a corner sends scales 50 % off."""
    worst = 0.0
    for seed in range(6):
        few = matches(24, 0, 0.0, seed=seed)
        at = few.at * 0.15
        noise = np.random.default_rng(seed).normal(0, 1.0, at.shape)
        few = few._replace(at=at, found=project(TRUTH, at) + noise)
        fit = fit_homography(few, 3.0, np.eye(3), (480, 640), (480, 640))
        worst = max(worst, abs(fit.homography[2, :2]).max() * 320)
    assert worst < 0.1


def bent(points, share):
    """Points as a lens with radial distortion shows them: `share` at half the larger side."""
    away = (points - [319.5, 239.5]) / 320.0
    return points + share * 320.0 * away * (away**2).sum(axis=1, keepdims=True)


def test_a_lens_that_bends_is_met_all_over_and_not_where_the_texture_is():
    """No homography follows it: that with the smallest largest error is better than a fit."""
    crowded = matches(800, 80)
    at = crowded.at.copy()
    at[200:] = 320 + (at[200:] - 320) * 0.3
    noise = np.random.default_rng(1).normal(0, 0.2, at.shape)
    wrong = np.where(np.arange(800)[:, None] < 80, crowded.found - project(TRUTH, crowded.at), 0)
    found = project(TRUTH, bent(at, -0.02)) + noise + wrong
    fit = fit_homography(
        crowded._replace(at=at, found=found), 2.5, np.eye(3), (480, 640), (480, 640)
    )
    everywhere = np.stack(np.meshgrid(np.arange(8, 632, 8.0), np.arange(8, 472, 8.0)), -1)
    everywhere = everywhere.reshape(-1, 2)
    ends = project(TRUTH, bent(everywhere, -0.02))
    plain, _ = cv2.findHomography(everywhere, ends)
    ours, fitted = (
        np.linalg.norm(project(h, everywhere) - ends, axis=1).max()
        for h in (fit.homography, plain)
    )
    assert ours < 0.8 * fitted
    assert fit.inliers[80:].mean() > 0.99


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_matches_give_nothing(count):
    assert fit_homography(matches(count, 0), 2.0, np.eye(3), (480, 640), (480, 640)) is None
