"""Fields of the checkerboard come from the cameras they should."""

import numpy as np

from irvis_fusion_core.calibration.overlay import before_and_after, checkerboard


def test_fields_take_turns_and_unknown_infrared_stays_visible():
    ir, vis = np.zeros((64, 64), np.uint8), np.full((64, 64, 3), 200, np.uint8)
    half = np.array([[1.0, 0, 32], [0, 1, 0], [0, 0, 1]])
    board = checkerboard(ir, vis, half, fields=8)
    bright = board.max(axis=2) > 100
    assert bright[:, :32].all()
    fields = bright.reshape(8, 8, 8, 8)[:, 4, :, 4]
    expected = (np.add.outer(np.arange(8), np.arange(8)) % 2 == 0) | (np.arange(8) < 4)
    assert np.array_equal(fields, expected)


def test_before_stands_above_after():
    ir = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    vis = np.dstack([ir.repeat(4, 0).repeat(4, 1)] * 3)
    stretched = np.array([[4.0, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])
    image = before_and_after(ir, vis, stretched)
    # The titles differ, the images below them do not.
    panel = checkerboard(ir, vis, stretched)
    places = [
        top
        for top in range(len(image) - len(panel) + 1)
        if np.array_equal(image[top : top + len(panel)], panel)
    ]
    assert len(places) == 2 and places[1] - places[0] > len(panel)
