"""Homographies of planes, from IR pixels to visible pixels.

Pixel coordinates are (x, y) with (0, 0) the centre of the top left pixel; sizes are
(height, width); a homography maps IR pixels to visible pixels: x_vis ~ H x_ir. Extrinsics take
points from the IR camera's optical frame to the visible one's: X_vis = R X_ir + t, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Tuple, Union

import numpy as np

from irvis_fusion_core.errors import CalibrationError

Size = Tuple[int, int]
"""(height, width) in pixels."""
Numbers = Union[np.ndarray, Sequence]
"""An array or nested lists."""

# Sizes whose aspect differs by less than this are the same image at another scale.
_ASPECT_TOLERANCE = 0.01
# The projected IR image must neither shrink nor grow in area by more than this factor.
_LARGEST_AREA_FACTOR = 1e4


def plane_homography(
    ir_matrix: Numbers,
    vis_matrix: Numbers,
    rotation: Numbers,
    translation_m: Sequence[float],
    depth_m: float,
) -> np.ndarray:
    """Return H = K_vis (R + t n^T / d) K_ir^-1, H[2, 2] = 1, for the plane at Z_ir = d.

    Hartley and Zisserman, 13.1. An infinite `depth_m` leaves the rotation alone.
    """
    k_ir = as_matrix("ir_matrix", ir_matrix)
    k_vis = as_matrix("vis_matrix", vis_matrix)
    plane = plane_motion(rotation, translation_m, depth_m)
    if min(k_ir[0, 0], k_ir[1, 1], k_vis[0, 0], k_vis[1, 1]) <= 0.0:
        raise CalibrationError(
            "both cameras need positive focal lengths, uncalibrated ones have 0: calibrate first"
        )
    return _normalised(k_vis @ plane @ np.linalg.inv(k_ir))


def plane_motion(rotation: Numbers, translation_m: Sequence[float], depth_m: float) -> np.ndarray:
    """Return R + t n^T / d, the homography between rays, for the plane at Z_ir = d."""
    if not depth_m > 0.0:
        raise CalibrationError(f"depth_m must be positive metres (or inf), found {depth_m}")
    turn = as_matrix("rotation", rotation)
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0.0:
        raise CalibrationError("rotation must be orthonormal with determinant +1")
    shift = np.asarray(translation_m, np.float64).reshape(-1)
    if shift.shape != (3,) or not np.isfinite(shift).all():
        raise CalibrationError("translation_m must be three finite numbers")
    return turn + np.outer(shift, (0.0, 0.0, 1.0)) / depth_m


def expected_error_px(
    ir_matrix: Numbers,
    vis_matrix: Numbers,
    rotation: Numbers,
    translation_m: Sequence[float],
    set_depth_m: float,
    depths_m: Sequence[float],
    ir_size: Size,
) -> dict[float, float]:
    """Return depth in metres -> largest error in visible pixels, registered for `set_depth_m`.

    The error is measured at a 5x5 grid over the IR image.
    """
    extrinsics = (ir_matrix, vis_matrix, rotation, translation_m)
    height, width = ir_size
    columns, rows = np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5))
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    assumed = project(plane_homography(*extrinsics, depth_m=set_depth_m), points)
    true = {d: project(plane_homography(*extrinsics, depth_m=d), points) for d in depths_m}
    return {float(d): float(np.linalg.norm(t - assumed, axis=1).max()) for d, t in true.items()}


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a 3x3 homography to points Nx2."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return lifted[:, :2] / lifted[:, 2:]


def scale_of(homography: np.ndarray) -> float:
    """Return by how much a homography enlarges the image at (0, 0), without perspective."""
    return float(np.sqrt(abs(np.linalg.det(homography[:2, :2] / homography[2, 2]))))


def corners(size: Size) -> np.ndarray:
    """Return the centres of the corner pixels, float64 4x2, clockwise from the top left."""
    right, bottom = size[1] - 1.0, size[0] - 1.0
    return np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])


def checked_homography(homography: Numbers, ir_size: Size) -> np.ndarray:
    """Return float64 3x3 with H[2, 2] = 1 that can warp an IR image of `ir_size`.

    Raises:
        CalibrationError: not 3x3 finite numbers, singular, mirrored, or with its horizon
            within the image.
    """
    h = as_matrix("homography", homography)
    height, width = ir_size
    projected = np.column_stack([corners(ir_size), np.ones(4)]) @ h.T
    scale = projected[:, 2]
    if np.abs(scale).min() <= 1e-9 * np.abs(h).max() or scale.min() * scale.max() < 0.0:
        raise CalibrationError("the homography sends part of IR to infinity: calibrate again")
    quad = projected[:, :2] / scale[:, None]
    following = np.roll(quad, -1, axis=0)
    area = 0.5 * float((quad[:, 0] * following[:, 1] - following[:, 0] * quad[:, 1]).sum())
    own_area = float((width - 1) * (height - 1))
    # A nearly singular map makes the quadrilateral collapse.
    if not own_area / _LARGEST_AREA_FACTOR < abs(area) < own_area * _LARGEST_AREA_FACTOR:
        raise CalibrationError(
            f"the homography is singular or nearly so: the {width}x{height} IR image becomes "
            f"{abs(area):.3g} square pixels; calibrate again"
        )
    if area < 0.0:
        raise CalibrationError(
            "the homography mirrors the image; flip the IR image in its driver, or calibrate "
            "with matching corners in the same order"
        )
    return _normalised(h)


def size_change(camera: str, old: Size, new: Size) -> np.ndarray:
    """Return the 3x3 from pixels of an image of size `old` to one of size `new`.

    Raises:
        CalibrationError: the aspect differs, so the image was cropped in an unknown place.
    """
    down, across = new[0] / float(old[0]), new[1] / float(old[1])
    # Rounding one side to a whole pixel is not another aspect.
    rounding = 1.0 / min(new[0], new[1])
    if abs(across / down - 1.0) > _ASPECT_TOLERANCE + rounding:
        raise CalibrationError(
            f"the calibration is for a {camera} image of {old[1]}x{old[0]}, found "
            f"{new[1]}x{new[0]} of another aspect; use that format, or calibrate again"
        )
    return stretch(old, new)


def stretch(old: Size, new: Size) -> np.ndarray:
    """As `size_change` for any aspect: the whole old image becomes the whole new one."""
    down, across = new[0] / float(old[0]), new[1] / float(old[1])
    # Pixel centres: the edge of the image, at -0.5, stays the edge.
    return np.array(
        [[across, 0.0, (across - 1.0) / 2.0], [0.0, down, (down - 1.0) / 2.0], [0.0, 0.0, 1.0]]
    )


def quaternion_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """Return the 3x3 rotation of a quaternion (x, y, z, w) of any length but 0."""
    q = np.asarray(quaternion, np.float64).reshape(-1)
    if q.shape != (4,) or not np.isfinite(q).all() or not np.linalg.norm(q) > 1e-6:
        raise CalibrationError(
            f"a rotation must be a quaternion (x, y, z, w) other than 0, found {list(quaternion)}"
        )
    x, y, z, w = q / np.linalg.norm(q)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + 2.0 * (w * cross + cross @ cross)


def as_matrix(name: str, value: Numbers) -> np.ndarray:
    """Return float64 3x3 from nested lists or nine numbers."""
    try:
        matrix = np.asarray(value, np.float64).reshape(3, 3)
    except (TypeError, ValueError, OverflowError):
        matrix = np.full((3, 3), np.nan)
    if not np.isfinite(matrix).all():
        found = value.tolist() if isinstance(value, np.ndarray) else value
        raise CalibrationError(f"{name} must be 3x3 finite numbers, found {found!r}")
    return matrix


def _normalised(homography: np.ndarray) -> np.ndarray:
    if homography[2, 2] == 0.0:
        raise CalibrationError("the homography sends the image's corner to infinity")
    return homography / homography[2, 2]
