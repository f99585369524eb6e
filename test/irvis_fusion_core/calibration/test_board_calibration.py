"""Calibration from drawn boards against the cameras that they were drawn for."""

import argparse

import cv2
import numpy as np
import pytest

from irvis_fusion_core.calibration.board_calibration import (
    Board,
    calibrate_boards,
    find_board,
    parse_board,
)
from irvis_fusion_core.errors import CalibrationError

BOARD = Board("chessboard", 6, 5)
SQUARE_M = 0.05
IR_SIZE, VIS_SIZE = (128, 160), (240, 320)
K_IR = np.array([[170.0, 0, 80], [0, 172.0, 63], [0, 0, 1]])
K_VIS = np.array([[300.0, 0, 161], [0, 299.0, 118], [0, 0, 1]])
TURN, _ = cv2.Rodrigues(np.array([0.01, -0.03, 0.02]))  # of the IR camera
SHIFT = np.array([-0.06, 0.01, 0.005])  # X_vis = TURN X_ir + SHIFT
TILTS = [
    (x, y, z, dx, dy, d)
    for x, y, z, dx, dy, d in [
        (0.6, 0.1, 0.1, 0.02, 0.0, 0.45),
        (-0.5, 0.2, 0.0, -0.02, 0.01, 0.5),
        (0.1, 0.6, -0.1, 0.0, -0.01, 0.45),
        (0.2, -0.6, 0.2, 0.03, 0.0, 0.5),
        (0.5, 0.5, 0.0, -0.03, 0.02, 0.5),
        (-0.4, -0.5, 0.3, 0.0, 0.0, 0.42),
        (0.0, 0.3, 0.5, 0.03, 0.02, 0.55),
        (-0.6, 0.0, -0.2, 0.02, 0.02, 0.45),
    ]
]


def board_image(scale=40, kind="chessboard"):
    """The board with a white border, and its pixels a metre and its first corner's pixel."""
    rows, columns = BOARD.rows + 1, BOARD.columns + 1
    squares = (np.add.outer(np.arange(rows), np.arange(columns)) % 2 * 255).astype(np.uint8)
    image = np.pad(squares.repeat(scale, 0).repeat(scale, 1), scale, constant_values=255)
    return image, 2 * scale - 0.5, scale / SQUARE_M


def view(tilt, k, size, from_vis, warm=False):
    """The board at a pose (in the visible camera's frame) as one camera sees it, sharp."""
    image, corner, pixels_a_metre = board_image()
    turn, _ = cv2.Rodrigues(np.array(tilt[:3]))
    centre = np.array([(BOARD.columns - 1) / 2, (BOARD.rows - 1) / 2, 0]) * SQUARE_M
    place = np.array([1.5 * tilt[3], 1.5 * tilt[4], 1.5 * tilt[5]]) - turn @ centre
    rotation, shift = from_vis
    turn, place = rotation @ turn, rotation @ place + shift
    plane = k @ np.column_stack([turn[:, 0], turn[:, 1], place])
    to_metres = np.array(
        [
            [1 / pixels_a_metre, 0, -corner / pixels_a_metre],
            [0, 1 / pixels_a_metre, -corner / pixels_a_metre],
            [0, 0, 1],
        ]
    )
    # Drawn four times as large and averaged: edges as a camera has them.
    large = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1.0]])
    seen = cv2.warpPerspective(
        image, large @ plane @ to_metres, (4 * size[1], 4 * size[0]), borderValue=110
    )
    seen = cv2.resize(seen, size[::-1], interpolation=cv2.INTER_AREA)
    return np.clip(160 - 0.4 * seen.astype(float), 0, 255).astype(np.uint8) if warm else seen


def views(tilts=TILTS):
    to_ir = (TURN.T, -TURN.T @ SHIFT)
    return [
        (
            view(tilt, K_IR, IR_SIZE, to_ir, warm=True),
            cv2.cvtColor(
                view(tilt, K_VIS, VIS_SIZE, (np.eye(3), np.zeros(3))), cv2.COLOR_GRAY2BGR
            ),
        )
        for tilt in tilts
    ]


def test_both_cameras_and_their_places_are_found_from_a_board_of_reversed_contrast():
    found = calibrate_boards(views(), BOARD, SQUARE_M)
    assert found.views == (8, 8, 8)
    np.testing.assert_allclose(found.ir.matrix[:2], K_IR[:2], atol=3.5)
    np.testing.assert_allclose(found.vis.matrix[:2], K_VIS[:2], atol=4.0)
    np.testing.assert_allclose(found.translation_m, SHIFT, atol=0.006)
    assert np.rad2deg(np.linalg.norm(cv2.Rodrigues(found.rotation.T @ TURN)[0])) < 0.8
    assert found.pair_rms_px < 0.6
    assert (found.ir.size, found.vis.size) == (IR_SIZE, VIS_SIZE)


def test_too_few_views_are_refused_with_their_numbers():
    pairs = views(TILTS[:3]) + [(np.full(IR_SIZE, 9, np.uint8), np.full(VIS_SIZE, 9, np.uint8))]
    with pytest.raises(CalibrationError, match=r"3 IR and 3 visible.*3 of them at once, of 4"):
        calibrate_boards(pairs, BOARD, SQUARE_M)


def test_views_from_one_side_only_leave_the_focal_length_open():
    frontal = [(0.02 * n, -0.015 * n, 0.0, 0.004 * n, 0.0, 0.5) for n in range(6)]
    with pytest.raises(CalibrationError, match=r"tilted"):
        calibrate_boards(views(frontal), BOARD, SQUARE_M)


def test_asymmetric_circles_have_every_other_row_moved():
    points = Board("asymmetric_circles", 4, 3).points_m(0.02)
    assert points.shape == (12, 3)
    np.testing.assert_allclose(points[4], [0.02, 0.02, 0], atol=1e-7)
    np.testing.assert_allclose(points[1] - points[0], [0.04, 0, 0], atol=1e-7)


def test_circles_are_found_where_they_were_drawn():
    board = Board("circles", 5, 4)
    image = np.full((240, 320), 220, np.uint8)
    centres = [(60 + 45 * x, 50 + 42 * y) for y in range(4) for x in range(5)]
    for centre in centres:
        cv2.circle(image, centre, 12, 30, -1, cv2.LINE_AA)
    found = find_board(image, board)
    assert np.linalg.norm(np.sort(found, 0) - np.sort(np.array(centres), 0), axis=1).max() < 0.6


@pytest.mark.parametrize("text", ["chessboard", "chess:9x6", "chessboard:9", "circles:2x7"])
def test_boards_that_are_none_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="found"):
        parse_board(text)


def test_boards_that_look_the_same_turned_are_refused():
    with pytest.raises(argparse.ArgumentTypeError, match="90 degrees"):
        parse_board("chessboard:7x7")
    assert parse_board("chessboard:9x6") == Board("chessboard", 9, 6)
