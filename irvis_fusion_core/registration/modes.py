"""Bring the IR image onto the visible image's grid, once per frame, by precomputed maps.

    registration = make_registration("homography", homography=h, calibrated_ir_size=(512, 640),
                                     calibrated_vis_size=(1000, 1500))
    ir, coverage = registration.warp(ir, vis.shape[:2])
    if coverage is not None:
        ir = fill_uncovered(ir, vis_luma, coverage)

See `warp_maps` for sizes and coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irvis_fusion_core import errors
from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.protocols import Registration
from irvis_fusion_core.registration import camera_geometry as geometry
from irvis_fusion_core.registration import warp_maps
from irvis_fusion_core.registration.camera_geometry import Numbers, Size
from irvis_fusion_core.registration.camera_model import checked_size, make_camera
from irvis_fusion_core.registration.learned.learned_registration import LearnedRegistration
from irvis_fusion_core.registration.online_alignment import OnlineRegistration
from irvis_fusion_core.registration.warp_maps import (
    Grid,
    MapRegistration,
    PixelMap,
    ResizeRegistration,
    grey_image,
)

# Depths for which the error of a registration at another depth is reported.
DEPTHS_M = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


class NoRegistration:
    """IR and visible already share one grid."""

    mode = "none"

    def warp(self, ir: np.ndarray, vis_size: Size) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a uint8 HxW image of the visible size unchanged, fully covered."""
        ir = grey_image(ir)
        if ir.shape != tuple(vis_size):
            raise FrameError(
                f"registration mode 'none' needs IR of {warp_maps.size_name(vis_size)}, found "
                f"{warp_maps.size_name(ir.shape)}; choose 'resize' or 'homography'"
            )
        return ir, None

    def describe(self) -> dict[str, Any]:
        return {"mode": self.mode}


class HomographyRegistration(MapRegistration):
    """One 3x3 homography, IR pixels to visible pixels; holds at one depth."""

    mode = "homography"

    def __init__(
        self,
        homography: Numbers | None = None,
        calibrated_ir_size: Size | None = None,
        calibrated_vis_size: Size | None = None,
        soft_edge_px: float = 16.0,
    ) -> None:
        super().__init__(soft_edge_px)
        if homography is None:
            raise CalibrationError(
                "registration mode 'homography' needs `homography`, nine numbers that map IR to "
                "visible pixels; `irvis_fusion calibrate` estimates them"
            )
        self._ir_size = _optional_size("calibrated_ir_size", calibrated_ir_size)
        self._vis_size = _optional_size("calibrated_vis_size", calibrated_vis_size)
        # Finds gross errors early; the check is repeated with the sizes of the frames.
        self._homography = geometry.checked_homography(homography, self._ir_size or (480, 640))

    def _ir_points(self, ir_size: Size, vis_size: Size, pixels: Grid) -> PixelMap:
        from_ir = geometry.size_change("IR", self._ir_size or ir_size, ir_size)
        from_vis = geometry.size_change("visible", self._vis_size or vis_size, vis_size)
        homography = from_vis @ self._homography @ np.linalg.inv(from_ir)
        backward = np.linalg.inv(geometry.checked_homography(homography, ir_size))
        return warp_maps.through(backward, *pixels)

    def describe(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "homography": self._homography.tolist(),
            "calibrated_ir_size": self._ir_size,
            "calibrated_vis_size": self._vis_size,
        }


class CalibratedRegistration(MapRegistration):
    """Both camera calibrations with lens distortion, the extrinsics, and one depth.

    Matrices are 3x3, lenses and distortions as in `camera_model`; X_vis = R X_ir + t in metres.
    """

    mode = "calibration"
    # Between the points of the coarse grid lenses bend by less than a hundredth of a pixel.
    coarse = True

    def __init__(
        self,
        ir_matrix: Numbers,
        vis_matrix: Numbers,
        rotation: Numbers,
        translation_m: Sequence[float],
        depth_m: float,
        calibrated_ir_size: Size,
        calibrated_vis_size: Size,
        ir_distortion: Sequence[float] = (),
        vis_distortion: Sequence[float] = (),
        soft_edge_px: float = 16.0,
        ir_lens: str = "",
        vis_lens: str = "",
    ) -> None:
        super().__init__(soft_edge_px)
        self._ir = make_camera("ir", ir_matrix, ir_distortion, calibrated_ir_size, ir_lens)
        self._vis = make_camera("vis", vis_matrix, vis_distortion, calibrated_vis_size, vis_lens)
        self._depth_m = depth_m
        self._cameras = (self._ir.matrix, self._vis.matrix, rotation, translation_m)
        self._motion = geometry.plane_motion(rotation, translation_m, depth_m)
        # Checked without the lenses, which do not repair a degenerate motion.
        homography = geometry.plane_homography(*self._cameras, depth_m)
        self._homography = geometry.checked_homography(homography, self._ir.size)

    def _ir_points(self, ir_size: Size, vis_size: Size, pixels: Grid) -> PixelMap:
        ir_camera = self._ir.for_size("IR", ir_size)
        vis_camera = self._vis.for_size("visible", vis_size)
        rays = vis_camera.rays(np.stack([axis.ravel() for axis in pixels], axis=1))
        arrives = np.isfinite(rays[:, 0])
        rays = np.where(arrives[:, None], rays, 0.0)
        x, y, seen = warp_maps.through(np.linalg.inv(self._motion), rays[:, 0], rays[:, 1])
        seen &= arrives & (np.hypot(x, y) <= ir_camera.widest_ray())
        ir = ir_camera.pixels(np.column_stack([np.where(seen, x, 0.0), np.where(seen, y, 0.0)]))
        shape = pixels[0].shape
        return ir[:, 0].reshape(shape), ir[:, 1].reshape(shape), seen.reshape(shape)

    def describe(self) -> dict[str, Any]:
        errors = geometry.expected_error_px(*self._cameras, self._depth_m, DEPTHS_M, self._ir.size)
        return {
            "mode": self.mode,
            "depth_m": self._depth_m,
            "homography": self._homography.tolist(),
            "calibrated_ir_size": self._ir.size,
            "calibrated_vis_size": self._vis.size,
            "expected_error_px": ", ".join(f"{e:.1f} at {d:g} m" for d, e in errors.items()),
        }


_KINDS: dict[str, type[Registration]] = {
    "none": NoRegistration,
    "resize": ResizeRegistration,
    "homography": HomographyRegistration,
    "calibration": CalibratedRegistration,
}
MODES = (*_KINDS, OnlineRegistration.mode, LearnedRegistration.mode)


def make_registration(mode: str = "none", **options: Any) -> Registration:
    """Build a registration from its mode and the options of its class.

    Mode "online" corrects the mode that `online_base` names (default: resize); the options of
    `OnlineRegistration` begin with `online_`. Mode "learned" refines the mode that `learned_base`
    names (default: resize), which may be "online"; the options of `LearnedRegistration` begin with
    `learned_`. Options that are None or empty lists count as not given, so that a table
    of parameters can be passed whole.

    Raises:
        ConfigurationError: an unknown mode, options that the mode does not take or lacks, or no
            engine for the learned mode.
        CalibrationError: the calibration itself is unusable.
    """
    errors.expect_one_of("registration mode", mode, MODES)
    given = {n: v for n, v in options.items() if v is not None and np.size(v)}
    try:
        if mode == OnlineRegistration.mode:
            return _make_online(**given)
        if mode == LearnedRegistration.mode:
            return _make_learned(**given)
        kind = _KINDS[mode]
        # The others have no options.
        return kind(**given) if issubclass(kind, MapRegistration) else kind()
    except TypeError as error:
        raise ConfigurationError(f"registration mode {mode!r}: {error}") from error


def _make_online(online_base: str = ResizeRegistration.mode, **given: Any) -> OnlineRegistration:
    online = _taken(given, "online_")
    if online_base == ResizeRegistration.mode:
        base: Registration = warp_maps.StretchedRegistration(given.get("soft_edge_px", 16.0))
    else:
        base = make_registration(online_base, **given)
    return OnlineRegistration(base, **online)


def _make_learned(learned_base: str = ResizeRegistration.mode, **given: Any) -> Registration:
    learned = _taken(given, "learned_")
    base = make_registration(learned_base, **given)
    try:
        return LearnedRegistration(base, **learned)
    except (errors.ModelError, errors.EngineUnavailableError) as error:
        raise ConfigurationError(f"registration mode 'learned': {error}") from error


def _taken(given: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the options with a prefix out of `given`, and return them without it."""
    return {n[len(prefix) :]: given.pop(n) for n in list(given) if n.startswith(prefix)}


def _optional_size(name: str, size: Sequence[int] | None) -> Size | None:
    return None if size is None else checked_size(name, size)
