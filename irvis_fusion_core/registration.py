"""Bring the IR picture onto the visible picture's grid, once per frame, by precomputed maps.

    registration = make_registration("homography", homography=h, calibrated_ir_size=(512, 640),
                                     calibrated_vis_size=(1000, 1500))
    ir, coverage = registration.warp(ir, vis.shape[:2])
    if coverage is not None:
        ir = fill_uncovered(ir, vis_luma, coverage)

Sizes are (height, width). `coverage` is uint8 HxW: 255 where IR is known, 0 where it is not,
with a soft edge between; None where the whole visible picture is covered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from irvis_fusion_core import camera_geometry as geometry
from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.warp_maps import MapRegistration, fill_uncovered, grey_picture, size_name

__all__ = [
    "MODES",
    "CalibratedRegistration",
    "HomographyRegistration",
    "NoRegistration",
    "ResizeRegistration",
    "fill_uncovered",
    "make_registration",
]

MODES = ("none", "resize", "homography", "calibration")
# Lens models are polynomials that fold back far outside the picture: no ray beyond this
# multiple of the picture's widest one is taken for seen.
_WIDEST_RAY = 1.1


class NoRegistration:
    """IR and visible already share one grid."""

    mode = "none"

    def warp(
        self, ir: np.ndarray, vis_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 HxW of the visible size -> the same picture, fully covered."""
        ir = grey_picture(ir)
        if ir.shape != tuple(vis_size):
            raise FrameError(
                f"registration mode 'none' needs IR of the visible size {size_name(vis_size)}, "
                f"found {size_name(ir.shape)}; choose 'resize' or 'homography'"
            )
        return ir, None

    def describe(self) -> dict:
        return {"mode": self.mode}


class ResizeRegistration:
    """Both cameras see the same field of view: IR is stretched to the visible size."""

    mode = "resize"

    def warp(
        self, ir: np.ndarray, vis_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 HxW -> uint8 of `vis_size`, fully covered."""
        ir = grey_picture(ir)
        height, width = vis_size
        if ir.shape == (height, width):
            return ir, None
        shrinks = height < ir.shape[0] and width < ir.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(ir, (width, height), interpolation=method), None

    def describe(self) -> dict:
        return {"mode": self.mode}


class HomographyRegistration(MapRegistration):
    """One 3x3 homography, IR pixels to visible pixels; holds at one depth."""

    mode = "homography"

    def __init__(
        self,
        homography: np.ndarray | Sequence,
        calibrated_ir_size: tuple[int, int] | None = None,
        calibrated_vis_size: tuple[int, int] | None = None,
        soft_edge_px: float = 16.0,
    ) -> None:
        super().__init__(soft_edge_px)
        self._ir_size = _checked_size("calibrated_ir_size", calibrated_ir_size)
        self._vis_size = _checked_size("calibrated_vis_size", calibrated_vis_size)
        # Without a calibrated size the common one serves to find gross errors at once; the
        # check is repeated with the sizes of the frames.
        self._homography = geometry.checked_homography(homography, self._ir_size or (480, 640))

    def _ir_points(
        self, ir_size: tuple[int, int], vis_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        homography = geometry.rescaled_homography(
            self._homography,
            self._ir_size or ir_size,
            ir_size,
            self._vis_size or vis_size,
            vis_size,
        )
        backward = np.linalg.inv(geometry.checked_homography(homography, ir_size))
        return _through(backward, *_pixel_grid(vis_size))

    def describe(self) -> dict:
        return {
            "mode": self.mode,
            "homography": self._homography.tolist(),
            "calibrated_ir_size": self._ir_size,
            "calibrated_vis_size": self._vis_size,
        }


class CalibratedRegistration(MapRegistration):
    """Both camera calibrations with lens distortion, the extrinsics, and one depth.

    Matrices are 3x3, distortions OpenCV's (k1, k2, p1, p2[, k3[, k4, k5, k6]]: camera_info
    `plumb_bob` or `rational_polynomial`); X_vis = R X_ir + t in metres.
    """

    mode = "calibration"

    def __init__(
        self,
        ir_matrix: np.ndarray | Sequence,
        vis_matrix: np.ndarray | Sequence,
        rotation: np.ndarray | Sequence,
        translation_m: Sequence[float],
        depth_m: float,
        calibrated_ir_size: tuple[int, int],
        calibrated_vis_size: tuple[int, int],
        ir_distortion: Sequence[float] = (),
        vis_distortion: Sequence[float] = (),
        soft_edge_px: float = 16.0,
    ) -> None:
        super().__init__(soft_edge_px)
        sizes = (
            _checked_size("calibrated_ir_size", calibrated_ir_size),
            _checked_size("calibrated_vis_size", calibrated_vis_size),
        )
        if sizes[0] is None or sizes[1] is None:
            raise CalibrationError("mode 'calibration' needs both calibrated sizes")
        self._ir_size, self._vis_size = sizes[0], sizes[1]
        self._k_ir = geometry.as_matrix("ir_matrix", ir_matrix)
        self._k_vis = geometry.as_matrix("vis_matrix", vis_matrix)
        self._d_ir = _checked_distortion("ir_distortion", ir_distortion)
        self._d_vis = _checked_distortion("vis_distortion", vis_distortion)
        self._depth_m = depth_m
        self._motion = geometry.plane_motion(rotation, translation_m, depth_m)
        # What is no homography without the lenses is none with them.
        self._homography = geometry.checked_homography(
            geometry.plane_homography(self._k_ir, self._k_vis, rotation, translation_m, depth_m),
            self._ir_size,
        )

    def _ir_points(
        self, ir_size: tuple[int, int], vis_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k_ir = geometry.size_change("IR", self._ir_size, ir_size) @ self._k_ir
        k_vis = geometry.size_change("visible", self._vis_size, vis_size) @ self._k_vis
        columns, rows = _pixel_grid(vis_size)
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)[:, None, :]
        rays = cv2.undistortPoints(pixels, k_vis, self._d_vis)[:, 0]
        x, y, seen = _through(np.linalg.inv(self._motion), rays[:, 0], rays[:, 1])
        seen &= np.hypot(x, y) <= _WIDEST_RAY * _widest_ray(k_ir, self._d_ir, ir_size)
        points = np.column_stack([np.where(seen, x, 0.0), np.where(seen, y, 0.0), np.ones(x.size)])
        ir, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k_ir, self._d_ir)
        return (
            ir[:, 0, 0].reshape(vis_size),
            ir[:, 0, 1].reshape(vis_size),
            seen.reshape(vis_size),
        )

    def describe(self) -> dict:
        return {
            "mode": self.mode,
            "depth_m": self._depth_m,
            "homography": self._homography.tolist(),
            "calibrated_ir_size": self._ir_size,
            "calibrated_vis_size": self._vis_size,
        }


def make_registration(mode: str = "none", **options):
    """A registration by mode: none, resize, homography, calibration; options as its class.

    Options that are None or an empty list count as not given, so that a table of parameters can
    be passed whole.

    Raises:
        ConfigurationError: an unknown mode, or options that the mode does not take or lacks.
        CalibrationError: the calibration itself is unusable.
    """
    kinds = (NoRegistration, ResizeRegistration, HomographyRegistration, CalibratedRegistration)
    by_mode: dict[str, Callable] = {kind.mode: kind for kind in kinds}
    if mode not in by_mode:
        raise ConfigurationError(
            f"registration mode must be one of {', '.join(MODES)}, found {mode!r}"
        )
    given = {
        name: value
        for name, value in options.items()
        if value is not None and not (isinstance(value, (list, tuple)) and not value)
    }
    if mode in ("none", "resize"):
        return by_mode[mode]()
    if mode == "homography" and "homography" not in given:
        raise CalibrationError(
            "registration mode 'homography' needs `homography`, nine numbers that map IR to "
            "visible pixels; `irvis_fusion calibrate` estimates them"
        )
    try:
        return by_mode[mode](**given)
    except TypeError as error:
        raise ConfigurationError(f"registration mode {mode!r}: {error}") from error


def _through(
    h: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points through a homography, and whether they lie before the camera."""
    # The sign is meaningful: forward maps have a positive scale throughout the IR picture, so
    # their inverses have one throughout its image.
    scale = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    before = scale > 1e-9
    safe = np.where(before, scale, 1.0)
    return (
        (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / safe,
        (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / safe,
        before,
    )


def _pixel_grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64))


def _widest_ray(matrix: np.ndarray, distortion: np.ndarray, size: tuple[int, int]) -> float:
    """Largest tangent of the angle to the optical axis that the picture's border sees."""
    height, width = size
    along = np.linspace(0.0, 1.0, 17)
    border = [
        (column * (width - 1), row * (height - 1))
        for t in along
        for column, row in ((t, 0.0), (t, 1.0), (0.0, t), (1.0, t))
    ]
    rays = cv2.undistortPoints(np.array(border, np.float64)[:, None, :], matrix, distortion)
    return float(np.linalg.norm(rays[:, 0], axis=1).max())


def _checked_size(name: str, size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    values = [int(value) for value in size]
    if len(values) != 2 or min(values) < 2:
        raise CalibrationError(f"{name} must be (height, width) in pixels, found {size!r}")
    return values[0], values[1]


def _checked_distortion(name: str, values: Sequence[float]) -> np.ndarray:
    distortion = np.asarray(values, np.float64).reshape(-1)
    if distortion.size not in (0, 4, 5, 8, 12, 14) or not np.isfinite(distortion).all():
        raise CalibrationError(
            f"{name} must be 0, 4, 5, 8, 12 or 14 finite coefficients in OpenCV's order, found "
            f"{list(values)!r}; fisheye (equidistant) lenses must be rectified first"
        )
    return distortion if distortion.size else np.zeros(4)
