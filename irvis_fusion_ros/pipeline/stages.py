"""The core's parts that stand before and in the engine's place, built from the parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_ros.parameters.settings import RegistrationSettings, Settings, ThermalSettings


class CalibrationMissing(CalibrationError):
    """A calibration or transform has not arrived yet: it may still."""


class Stages(NamedTuple):
    """`thermal(raw, stamp_s) -> grey HxW`; `registration.warp(grey, size) -> (ir, coverage)`.

    `problem` says why `registration` is not the one that was asked for, and is empty when it is.
    A `registration` of None stands for the fallback to the visible image alone.
    """

    thermal: Any
    registration: Any
    problem: str = ""


class Cameras(NamedTuple):
    """What is known of the cameras besides the parameters: from topics, or nothing.

    Two `camera_model.CameraModel`, and `static_transforms.Extrinsics` of IR in the visible frame;
    `missing` says why one of these is None, by its name.
    """

    ir: Any = None
    vis: Any = None
    extrinsics: Any = None
    missing: Mapping[str, str] = {}


NO_CAMERAS = Cameras()


def make_stages(
    settings: Settings, cameras: Cameras = NO_CAMERAS, in_background: bool = True
) -> Stages:
    """Build thermal rescaling and registration.

    `in_background` is False for tools that work through files: online alignment then runs within
    `offer`, and gives the same images each time.

    Raises:
        ConfigurationError: parameters that do not go together.
        CalibrationMissing: the mode needs a calibration that `cameras` lacks so far.
        CalibrationError: a calibration that cannot be used.
    """
    registration = make_registration(settings.registration, cameras, in_background)
    return Stages(make_thermal(settings.thermal), registration)


def make_thermal(settings: ThermalSettings) -> Any:
    """Build the thermal rescaling; raises ConfigurationError where it refuses."""
    from irvis_fusion_core.thermal import ThermalRescale

    options = dataclasses.asdict(settings)
    if settings.method != "window":
        options["window_low"] = options["window_high"] = None
    options["saturated"] = settings.saturated or None
    return ThermalRescale(**options)


def make_registration(
    settings: RegistrationSettings, cameras: Cameras = NO_CAMERAS, in_background: bool = True
) -> Any:
    """Build the registration; raises as `make_stages`."""
    from irvis_fusion_core import registration as core

    options: dict[str, Any] = {"soft_edge_px": settings.soft_edge_px}
    if settings.base_mode == "homography":
        options["homography"] = settings.homography
        ir_size, vis_size = settings.calibrated_ir_size, settings.calibrated_vis_size
        options["calibrated_ir_size"] = ir_size if all(ir_size) else None
        options["calibrated_vis_size"] = vis_size if all(vis_size) else None
    elif settings.base_mode == "calibration":
        options.update(_calibration(settings, cameras))
    if settings.mode == "online":
        values = dataclasses.asdict(settings)
        options.update((n, v) for n, v in values.items() if n.startswith("online_"))
        options["online_in_background"] = in_background
    return core.make_registration(settings.mode, **options)


def fallback_registration(settings: RegistrationSettings) -> Any:
    """Build what `registration.fallback` names, or return None for the visible image alone.

    Raises:
        CalibrationError: it is the homography, and that cannot be used either.
    """
    if settings.fallback == "passthrough":
        return None
    return make_registration(dataclasses.replace(settings, mode=settings.fallback))


def _calibration(settings: RegistrationSettings, cameras: Cameras) -> dict[str, Any]:
    """Return the options of the core's mode calibration."""
    from irvis_fusion_core.registration.camera_geometry import quaternion_matrix
    from irvis_fusion_core.registration.camera_model import read_camera_file

    options: dict[str, Any] = {"depth_m": settings.depth_m}
    for name, known in (("ir", cameras.ir), ("vis", cameras.vis)):
        path, rectified, _ = settings.camera(name)
        camera = read_camera_file(path, name, rectified) if path else known
        if camera is None:
            raise CalibrationMissing(
                cameras.missing.get(name)
                or f"the {name} camera's calibration is not known: set"
                f" registration.{name}_calibration_file, or publish {name}/camera_info"
            )
        options[name + "_matrix"] = camera.matrix
        options[name + "_distortion"] = camera.distortion
        options[name + "_lens"] = "equidistant" if camera.fisheye else ""
        options[f"calibrated_{name}_size"] = camera.size
    if settings.extrinsics == "parameters":
        options["rotation"] = quaternion_matrix(settings.rotation_xyzw)
        options["translation_m"] = settings.translation_m
    elif cameras.extrinsics is not None:
        options["rotation"], options["translation_m"] = cameras.extrinsics
    else:
        raise CalibrationMissing(
            cameras.missing.get("extrinsics")
            or "where the cameras stand to one another is not known: registration.extrinsics is"
            " tf, and there is no /tf_static here; set it to parameters"
        )
    return options


def open_fusion(settings: Settings, progress: Callable[[str], None]) -> Any:
    """Open the engine that the parameters name; may build for minutes on its first run."""
    from irvis_fusion_core.fusion import RealtimeFusion

    def given(value: str) -> str | None:
        return None if value in ("auto", "") else value

    return RealtimeFusion(
        model=settings.engine.model,
        backend=settings.engine.backend,
        precision=given(settings.engine.precision),
        device=given(settings.engine.device),
        threads=settings.engine.threads,
        cache_dir=given(settings.engine.engine_cache_dir),
        progress=progress,
    )
