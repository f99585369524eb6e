"""The stages around the engine, built from the parameters: thermal, registration, flicker limit.

A thermal frame that serves several visible ones is prepared once. So limits that are smoothed over
time depend on the frames that came and not on the speed of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core import registration as core_registration
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.protocols import Registration, ThermalStage
from irvis_fusion_core.registration.camera_geometry import quaternion_matrix
from irvis_fusion_core.registration.camera_model import CameraModel, read_camera_file
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frames import IrFrame
from irvis_fusion_ros.pipeline.static_transforms import Extrinsics


class CalibrationMissing(CalibrationError):
    """A calibration or transform has not arrived yet; it may still."""


class Cameras(NamedTuple):
    """The cameras as topics describe them.

    Attributes:
        ir, vis: Their models, or None.
        extrinsics: Where the IR camera stands in the visible one's frame, or None.
        missing: Why one of these is None, by its name.
    """

    ir: CameraModel | None = None
    vis: CameraModel | None = None
    extrinsics: Extrinsics | None = None
    missing: Mapping[str, str] = MappingProxyType({})


NO_CAMERAS = Cameras()


class ThermalOnce:
    """Rescales each thermal frame once: a method that smooths over time counts its calls.

    One thread uses it. A jump of the stamps needs no call: the methods notice it themselves.
    """

    def __init__(self, rescale: ThermalStage) -> None:
        """Keep `rescale`."""
        self._rescale = rescale
        self._newest: tuple[int, np.ndarray] | None = None

    def __call__(self, frame: IrFrame) -> np.ndarray:
        """Return the frame in 8 bits."""
        if self._newest is None or self._newest[0] != frame.number:
            grey = self._rescale(frame.pixels, frame.stamp_ns / NS_PER_S)
            self._newest = (frame.number, grey)
        return self._newest[1]

    def follow(self, frame: IrFrame) -> None:
        """Let the limits see a frame that is not fused, unless a newer one was rescaled."""
        if self._newest is None or frame.number > self._newest[0]:
            self(frame)


class Stages(NamedTuple):
    """What is in use now. Parts that did not change are shared with the stages before.

    Attributes:
        thermal: Raw thermal frame to 8 bits.
        registration: To the visible grid; None: the visible image passes unchanged.
        limiter: Limits flicker, or None.
        problem: Why `registration` is not the one asked for; empty when it is.
    """

    thermal: ThermalOnce
    registration: Registration | None
    limiter: FlickerLimiter | None
    problem: str = ""


def make_thermal(settings: Settings) -> ThermalOnce:
    """Build the thermal rescaling.

    Raises:
        ConfigurationError: Parameters that do not go together.
    """
    options = asdict(settings.thermal)
    if options["method"] != "window":
        options["window_low"] = options["window_high"] = None
    options["saturated"] = options["saturated"] or None
    return ThermalOnce(ThermalRescale(**options))


def make_registration(
    settings: Settings, cameras: Cameras = NO_CAMERAS, in_background: bool = True
) -> Registration:
    """Build the registration.

    Args:
        settings: The parameters.
        cameras: What is known of the cameras.
        in_background: False for tools that read files: online alignment then runs within
            `offer` and gives the same images each time.

    Raises:
        ConfigurationError: Parameters that do not go together.
        CalibrationMissing: The mode needs a calibration that `cameras` lacks so far.
        CalibrationError: A calibration that cannot be used.
    """
    values = asdict(settings.registration)
    mode = settings.registration.mode
    options: dict[str, Any] = {"soft_edge_px": values["soft_edge_px"]}
    base = settings.registration.base_mode
    if base == "homography":
        options["homography"] = list(values["homography"])
        for name in ("calibrated_ir_size", "calibrated_vis_size"):
            options[name] = tuple(values[name]) if all(values[name]) else None
    elif base == "calibration":
        options.update(_calibration(settings, cameras))
    if mode == "online":
        options.update((name, v) for name, v in values.items() if name.startswith("online_"))
        options["online_in_background"] = in_background
    return core_registration.make_registration(mode, **options)


def fallback_registration(settings: Settings) -> Registration | None:
    """Build what `registration.fallback` names; None stands for the visible image alone."""
    fallback = settings.registration.fallback
    if fallback == "passthrough":
        return None
    try:
        return make_registration(settings.changed({"registration.mode": fallback}))
    except CalibrationError:
        return None  # it is the homography, and that cannot be used either


def describe_registration(registration: Registration) -> str:
    """Return one line for the log: the mode, and its expected error at other depths."""
    values = registration.describe()
    mode = values.get("base", values["mode"])
    text = f"{values['mode']} over {mode}" if mode != values["mode"] else str(mode)
    if "expected_error_px" in values:
        text += f", exact at {values['depth_m']:g} m; expected error in visible pixels: "
        text += values["expected_error_px"]
    elif mode == "homography":
        text += ", exact at the depth at which it was made"
    return text


def _calibration(settings: Settings, cameras: Cameras) -> dict[str, Any]:
    """Return the options of the core's mode `calibration`."""
    values = settings.registration
    options: dict[str, Any] = {"depth_m": values.depth_m}
    for name, known in (("ir", cameras.ir), ("vis", cameras.vis)):
        path, rectified, _ = values.camera(name)
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
    if values.extrinsics == "parameters":
        options["rotation"] = quaternion_matrix(values.rotation_xyzw)
        options["translation_m"] = list(values.translation_m)
    elif cameras.extrinsics is not None:
        options["rotation"], options["translation_m"] = cameras.extrinsics
    else:
        raise CalibrationMissing(
            cameras.missing.get("extrinsics")
            or "the transform between the cameras is not known: registration.extrinsics is tf, and"
            " there is no /tf_static; publish it, or set registration.extrinsics to parameters"
        )
    return options
