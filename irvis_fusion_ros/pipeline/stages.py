"""The core's parts that stand before and in the engine's place, built from the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from irvis_fusion_core.errors import CalibrationError

RECTIFIED = {"ir": "ir_rectified", "vis": "vis_rectified"}
"""By camera: the parameter that says that its images are rectified."""


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


def section(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the settings below `prefix` without it: the keyword arguments of a part."""
    return {
        name[len(prefix) + 1 :]: value
        for name, value in settings.items()
        if name.startswith(prefix + ".")
    }


def make_stages(
    settings: Mapping[str, Any], cameras: Cameras = NO_CAMERAS, in_background: bool = True
) -> Stages:
    """Build thermal rescaling and registration.

    `in_background` is False for tools that work through files: online alignment then runs within
    `offer`, and gives the same images each time.

    Raises:
        ConfigurationError: parameters that do not go together.
        CalibrationMissing: the mode needs a calibration that `cameras` lacks so far.
        CalibrationError: a calibration that cannot be used.
    """
    return Stages(make_thermal(settings), make_registration(settings, cameras, in_background))


def make_thermal(settings: Mapping[str, Any]) -> Any:
    """Build the thermal rescaling; raises ConfigurationError where it refuses."""
    from irvis_fusion_core.thermal import ThermalRescale

    thermal = section(settings, "thermal")
    if thermal["method"] != "window":
        thermal["window_low"] = thermal["window_high"] = None
    thermal["saturated"] = thermal["saturated"] or None
    return ThermalRescale(**thermal)


def make_registration(
    settings: Mapping[str, Any], cameras: Cameras = NO_CAMERAS, in_background: bool = True
) -> Any:
    """Build the registration; raises as `make_stages`."""
    from irvis_fusion_core import registration as core

    values = section(settings, "registration")
    mode = values["mode"]
    options: dict[str, Any] = {"soft_edge_px": values["soft_edge_px"]}
    base = base_mode(settings)
    if base == "homography":
        options["homography"] = values["homography"]
        for name in ("calibrated_ir_size", "calibrated_vis_size"):
            options[name] = tuple(values[name]) if all(values[name]) else None
    elif base == "calibration":
        options.update(_calibration(values, cameras))
    if mode == "online":
        options.update((n, v) for n, v in values.items() if n.startswith("online_"))
        options["online_in_background"] = in_background
    return core.make_registration(mode, **options)


def base_mode(settings: Mapping[str, Any]) -> str:
    """Return the mode that holds without correction: `registration.mode` itself unless online."""
    mode = settings["registration.mode"]
    return str(settings["registration.online_base"] if mode == "online" else mode)


def fallback_registration(settings: Mapping[str, Any]) -> Any:
    """Build what `registration.fallback` names, or return None for the visible image alone.

    Raises:
        CalibrationError: it is the homography, and that cannot be used either.
    """
    if settings["registration.fallback"] == "passthrough":
        return None
    mode = settings["registration.fallback"]
    return make_registration({**settings, "registration.mode": mode})


def _calibration(values: Mapping[str, Any], cameras: Cameras) -> dict[str, Any]:
    """Return the options of the core's mode calibration."""
    from irvis_fusion_core.registration.camera_geometry import quaternion_matrix
    from irvis_fusion_core.registration.camera_model import read_camera_file

    options: dict[str, Any] = {"depth_m": values["depth_m"]}
    for name, known in (("ir", cameras.ir), ("vis", cameras.vis)):
        path = values[name + "_calibration_file"]
        camera = read_camera_file(path, name, values[RECTIFIED[name]]) if path else known
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
    if values["extrinsics"] == "parameters":
        options["rotation"] = quaternion_matrix(values["rotation_xyzw"])
        options["translation_m"] = values["translation_m"]
    elif cameras.extrinsics is not None:
        options["rotation"], options["translation_m"] = cameras.extrinsics
    else:
        raise CalibrationMissing(
            cameras.missing.get("extrinsics")
            or "where the cameras stand to one another is not known: registration.extrinsics is"
            " tf, and there is no /tf_static here; set it to parameters"
        )
    return options


def open_fusion(settings: Mapping[str, Any], progress: Callable[[str], None]) -> Any:
    """Open the engine that the parameters name; may build for minutes on its first run."""
    from irvis_fusion_core.fusion import RealtimeFusion

    def given(name: str) -> Any:
        return None if settings[name] in ("auto", "") else settings[name]

    return RealtimeFusion(
        model=settings["model"],
        backend=settings["backend"],
        precision=given("precision"),
        device=given("device"),
        threads=settings["threads"],
        cache_dir=given("engine_cache_dir"),
        progress=progress,
    )
