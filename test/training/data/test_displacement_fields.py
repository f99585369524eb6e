"""Displacements whose inverse is known: against closed forms, and against the images they make."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from training.data import displacement_fields as fields
from training.data.displacement_fields import Body

SIZE, CELL = 64, 4
NOTHING = np.zeros((2, SIZE, SIZE), np.float32)


def ramp_image():
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return x, y


def taken(image, moved):
    return cv2.remap(image, *moved.source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def test_a_shift_is_inverted_exactly():
    smooth = NOTHING + np.array([3.0, -2.0], np.float32)[:, None, None]
    moved = fields.displace(smooth, (), CELL)
    np.testing.assert_allclose(moved.field[0], -3.0, atol=1e-5)
    np.testing.assert_allclose(moved.field[1], 2.0, atol=1e-5)
    # Cells at the left, and at the bottom, lie outside.
    assert moved.hidden[:, 0].all() and moved.hidden[-1].all()
    assert not moved.hidden[:-1, 1:].any()


@pytest.mark.parametrize("kind", [fields.smooth_field, fields.plane_field])
def test_a_random_field_finds_the_place_again(kind):
    """Coordinates as images: what lies at x of one image is found at x + d of the other."""
    for seed in range(8):
        random = np.random.default_rng(seed)
        moved = fields.displace(kind(random, SIZE, 6.0), (), CELL)
        centres = np.arange(SIZE // CELL) * CELL + (CELL - 1) / 2
        x, y = np.meshgrid(centres, centres)
        at = [(axis + d).astype(np.float32) for axis, d in zip((x, y), moved.field)]
        for image, wanted in zip(ramp_image(), (x, y)):
            displaced = taken(image, moved)
            found = cv2.remap(displaced, *at, cv2.INTER_LINEAR)
            inner = ~moved.hidden & (np.abs(x - 32) < 22) & (np.abs(y - 32) < 22)
            assert np.abs(found - wanted)[inner].max() < 0.1


def test_a_body_moves_as_one_and_hides_what_is_behind():
    image = np.zeros((SIZE, SIZE), np.float32)
    body = Body((20.0, 32.0), (6.0, 10.0), 4.0, (12.0, 0.0))
    y, x = np.mgrid[:SIZE, :SIZE]
    image[body.covers(x, y)] = 200.0
    moved = fields.displace(NOTHING, [body], CELL)
    displaced = taken(image, moved)
    assert displaced[32, 32] == 200.0 and displaced[32, 20] == 0.0
    assert moved.field[0, 8, 5] == 12.0 and moved.field[0, 8, 12] == 0.0
    assert moved.hidden[8, 8] and not moved.hidden[8, 5] and not moved.hidden[0, 8]


def test_a_nearer_body_hides_a_farther_one():
    far = Body((16.0, 32.0), (6.0, 6.0), 4.0, (16.0, 0.0))
    near = Body((48.0, 32.0), (8.0, 8.0), 4.0, (-16.0, 0.0))
    moved = fields.displace(NOTHING, [far, near], CELL)
    assert moved.hidden[8, 4]  # of the far body, now behind the near one
    assert not moved.hidden[8, 12]


def test_draws_stay_within_reach_and_repeat():
    boxes = np.array([[30.0, 30.0, 10.0, 24.0]])
    kinds = set()
    for seed in range(40):
        first, second = (
            fields.random_displacement(np.random.default_rng(seed), SIZE, CELL, 12.0, boxes)
            for _ in "ab"
        )
        np.testing.assert_array_equal(first.field, second.field)
        far = np.hypot(*first.field)
        kinds.add("none" if far.max() == 0.0 else "some")
        assert np.isfinite(first.source).all() and np.median(far) < 16.0
    assert kinds == {"none", "some"}
