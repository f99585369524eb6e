"""Lenses against OpenCV, and the turn of their polynomials against a dense search."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from irvis_fusion_core.registration.lens import Lens

LENSES = {
    "none": Lens(np.zeros(4)),
    "plumb_bob": Lens(np.array([-0.25, 0.08, 0.001, -0.002, -0.01])),
    "rational": Lens(np.array([0.3, 0.1, 0.0, 0.001, 0.02, 0.6, 0.2, 0.05])),
    "thin prism": Lens(np.array([-0.1, 0.02, 0, 0, 0, 0, 0, 0, 0.002, 0.001, -0.001, 0.002])),
    "tilted": Lens(np.array([-0.1, 0.02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.02, -0.01])),
    "fisheye": Lens(np.array([0.05, -0.01, 0.001, 0.0]), True),
}


def fan(widest):
    angle, radius = np.meshgrid(np.linspace(0, 2 * np.pi, 13), np.linspace(0, widest, 9))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(-1, 2)


@pytest.mark.parametrize("name", LENSES)
def test_rays_bend_as_in_opencv_and_are_found_again(name):
    lens = LENSES[name]
    rays = fan(min(0.8, 0.9 * lens.widest()))
    k, none = lens.coefficients, np.zeros(3)
    if lens.fisheye:
        expected = cv2.fisheye.distortPoints(rays[:, None], np.eye(3), k)[:, 0]
    else:
        points = np.column_stack([rays, np.ones(len(rays))])
        expected = cv2.projectPoints(points, none, none, np.eye(3), k)[0][:, 0]
    bent = lens.bent(rays)
    assert bent == pytest.approx(expected, abs=1e-9)
    assert lens.straight(bent) == pytest.approx(rays, abs=2e-5)


def radius_of(lens, radii):
    return np.linalg.norm(lens.bent(np.column_stack([radii, 0 * radii])), axis=1)


small = st.floats(-0.6, 0.6)


@settings(deadline=None, max_examples=30)
@given(st.booleans(), small, small, small, small, small, small)
def test_the_field_ends_before_the_image_turns_back(fisheye, a, b, c, d, e, f):
    lens = (
        Lens(np.array([a, b, c, d]), True)
        if fisheye
        else Lens(np.array([a, b, 0.0, 0.0, c, d, e, f]))
    )
    # With numerator and denominator alike there is no distortion, and no pole.
    assume(fisheye or max(abs(a - d), abs(b - e), abs(c - f)) > 0.05)
    widest = lens.widest()
    angles = np.linspace(0.0, np.arctan(widest), 3000)
    grows = np.diff(radius_of(lens, np.tan(angles)))
    assert (grows > 0).all()
    if widest < 5.0:
        # Just beyond it turns, or runs off to infinity where the denominator is 0.
        beyond = np.linspace(np.arctan(widest), min(1.56, np.arctan(widest) / 0.985), 400)
        beyond = np.tan(beyond) if fisheye else np.linspace(widest, widest / 0.985, 400)
        radii = radius_of(lens, beyond)
        assert (np.diff(radii) < 0).any() or radii.max() > 5 * radius_of(lens, np.array([widest]))


def test_points_beyond_the_turn_have_no_ray():
    lens = Lens(np.array([-0.4, 0.0, 0.0, 0.0]))
    edge = radius_of(lens, np.array([lens.widest()]))[0]
    found = lens.straight(np.array([[0.99 * edge, 0.0], [1.01 * edge, 0.0], [0.0, 3.0]]))
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]
    assert lens.widest() == pytest.approx(0.995 / np.sqrt(1.2))
