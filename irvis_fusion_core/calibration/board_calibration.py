"""Calibrates both cameras and their relative pose from a board that both see.

Zhang's method by OpenCV: each camera from all its views of the board, then the pose from the views
that both have. The board must be visible in infrared; its contrast may be reversed there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.oriented_gradients import grey
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_model import CameraModel, make_camera

BOARD_KINDS = ("chessboard", "circles", "asymmetric_circles")
LEAST_VIEWS = 6
# Largest uncertainty of the focal length, as a share; larger where the board was parallel to the
# image in all views.
_LARGEST_FOCAL_SPREAD = 0.03
_LARGEST_RMS_PX = 1.5
# Images below this width are enlarged for the search; Leptons have 160.
_LEAST_WIDTH = 480
_GRIDS = {
    "circles": cv2.CALIB_CB_SYMMETRIC_GRID,
    "asymmetric_circles": cv2.CALIB_CB_ASYMMETRIC_GRID,
}
_SUBPIXEL = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)


class Board(NamedTuple):
    """The numbers of inner corners (chessboard) or circles in a row and in a column."""

    kind: str
    columns: int
    rows: int

    def points_m(self, square_m: float) -> np.ndarray:
        """Return the board's points, float32 Nx3, in detection order."""
        row, column = np.mgrid[: self.rows, : self.columns].reshape(2, -1)
        if self.kind == "asymmetric_circles":
            column = 2 * column + row % 2
        flat = np.stack([column, row, np.zeros_like(row)], axis=1)
        return (flat * square_m).astype(np.float32)


class BoardCalibration(NamedTuple):
    """X_vis = rotation X_ir + translation_m, in the cameras' optical frames."""

    ir: CameraModel
    vis: CameraModel
    rotation: np.ndarray  # float64 3x3
    translation_m: np.ndarray  # float64 3
    ir_rms_px: float
    vis_rms_px: float
    pair_rms_px: float
    views: tuple[int, int, int]  # views of the board in IR, in visible, in both


def parse_board(text: str) -> Board:
    """Read `chessboard:9x6` (an argparse type)."""
    kind, _, size = text.partition(":")
    columns, _, rows = size.lower().partition("x")
    if kind not in BOARD_KINDS or not (columns.isdigit() and rows.isdigit()):
        raise argparse.ArgumentTypeError(
            f"expected KIND:COLUMNSxROWS, KIND one of {', '.join(BOARD_KINDS)}, found {text!r}"
        )
    board = Board(kind, int(columns), int(rows))
    if min(board.columns, board.rows) < 3:
        raise argparse.ArgumentTypeError(f"expected a board of 3x3 or more, found {text!r}")
    if board.columns == board.rows and kind != "asymmetric_circles":
        raise argparse.ArgumentTypeError(
            f"a square board looks the same turned by 90 degrees, found {text!r}; cover one row"
        )
    return board


def find_board(pixels: np.ndarray, board: Board) -> np.ndarray | None:
    """Return the board's points, float32 Nx2 pixels, row by row; None if it is not complete."""
    image = np.clip(grey(pixels), 0, 255).astype(np.uint8)
    factor = max(1, int(np.ceil(_LEAST_WIDTH / image.shape[1])))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    stretched = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    for candidate in (stretched, 255 - stretched):
        found = _find(candidate, board)
        if found is not None:
            # Enlarging moves pixel centres; the corner of the image stays in place.
            return ((found + 0.5) / factor - 0.5).astype(np.float32)
    return None


def calibrate_boards(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], board: Board, square_m: float
) -> BoardCalibration:
    """Calibrate from (IR uint8 HxW, visible uint8) pairs; each camera has one size.

    Raises:
        CalibrationError: the board is found in too few views, or the result is uncertain.
    """
    found = [(find_board(ir, board), find_board(vis, board)) for ir, vis in pairs]
    sizes = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    both = [(_turned_alike(a, b), b) for a, b in found if a is not None and b is not None]
    views = (sum(a is not None for a, _ in found), sum(b is not None for _, b in found), len(both))
    if min(views) < LEAST_VIEWS:
        raise CalibrationError(
            f"expected the whole {board.kind} of {board.columns}x{board.rows} in {LEAST_VIEWS} or "
            f"more pairs, found it in {views[0]} IR and {views[1]} visible images, {views[2]} "
            f"of them at once, of {len(pairs)}; move it slowly, tilt it, keep it warm, and count "
            "inner corners, not squares"
        )
    model = board.points_m(square_m)
    ir, ir_rms = _one("ir", [a for a, _ in found if a is not None], model, sizes[0])
    vis, vis_rms = _one("vis", [b for _, b in found if b is not None], model, sizes[1])
    points = ([model] * len(both), [a for a, _ in both], [b for _, b in both])
    cameras = (ir.matrix, ir.distortion, vis.matrix, vis.distortion)
    rms, *_, rotation, translation, _, _ = cv2.stereoCalibrate(
        *points, *cameras, sizes[0][::-1], flags=cv2.CALIB_FIX_INTRINSIC
    )
    if not rms <= 2 * _LARGEST_RMS_PX:
        raise CalibrationError(
            f"the two cameras' views of the board do not agree ({rms:.1f} px): expected pairs "
            "taken at once; hold the board still, or see `irvis_fusion estimate_time_offset`"
        )
    return BoardCalibration(
        ir, vis, rotation, translation.reshape(3), ir_rms, vis_rms, float(rms), views
    )


def _find(image: np.ndarray, board: Board) -> np.ndarray | None:
    size = (board.columns, board.rows)
    if board.kind == "chessboard":
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
        there, points = cv2.findChessboardCornersSB(image, size, flags=flags)
        if not there:
            there, points = cv2.findChessboardCorners(image, size)
            if there:
                points = cv2.cornerSubPix(image, points, (4, 4), (-1, -1), _SUBPIXEL)
    else:
        there, points = cv2.findCirclesGrid(image, size, flags=_GRIDS[board.kind])
    return points.reshape(-1, 2) if there else None


def _turned_alike(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return the IR points from the same end of the board as the visible ones.

    A board with reversed contrast is found from its other end.
    """
    along = float((ir[-1] - ir[0]) @ (vis[-1] - vis[0]))
    return ir if along > 0.0 else np.ascontiguousarray(ir[::-1])


def _one(
    name: str, views: list[np.ndarray], model: np.ndarray, size: tuple[int, int]
) -> tuple[CameraModel, float]:
    # k3 needs many views, and bends the corners without them.
    rms, matrix, distortion, _, _, spread, _, _ = cv2.calibrateCameraExtended(
        [model] * len(views), views, size[::-1], None, None, flags=cv2.CALIB_FIX_K3
    )
    focal_spread = float(max(spread[0, 0] / matrix[0, 0], spread[1, 0] / matrix[1, 1]))
    if not (rms <= _LARGEST_RMS_PX and focal_spread <= _LARGEST_FOCAL_SPREAD):
        raise CalibrationError(
            f"the views do not settle the {name} camera: {rms:.2f} px residual (at most "
            f"{_LARGEST_RMS_PX}), focal length open by {focal_spread:.1%} (at most "
            f"{_LARGEST_FOCAL_SPREAD:.0%}); show the board tilted by 20 to 45 degrees to all "
            "sides and in all corners of the image"
        )
    return make_camera(name, matrix, distortion.ravel(), size, "plumb_bob"), float(rms)
