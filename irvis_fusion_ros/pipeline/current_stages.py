"""The stages as the parameters and the calibrations of the cameras are now.

A calibration that cannot be used never ends the node. The visible image flows, or the simpler
registration that `registration.fallback` names is used, and /diagnostics says why.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from irvis_fusion_core import registration as core_registration
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.protocols import Registration
from irvis_fusion_core.registration.camera_geometry import quaternion_matrix
from irvis_fusion_core.registration.camera_model import CameraModel, read_camera_file
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.camera_files import CalibrationMissing, CameraFiles
from irvis_fusion_ros.pipeline.known_cameras import NO_CAMERAS, Cameras
from irvis_fusion_ros.pipeline.pair_fuser import Stages, ThermalOnce

FIRST_READ_S = 1.0
"""How long configuring waits for a calibration file; no image has come yet."""
TELL_MAX, TELL_WINDOW_S = 4, 60.0
"""Lines in the log within this time: a calibration that flaps changes the registration often."""
READ_S = 0.1
"""How long a parameter change waits for one: three frames at 30 Hz, which DDS queues."""


@dataclass(eq=False)
class CurrentStages:
    """Holds the `Stages` in use. One thread exchanges them, another may read them.

    Attributes:
        cameras: Returns what is known of the cameras now, as these parameters see it.
        tell: Called with a text for the log when the registration in use changes.
        in_background: Whether calibration files are read on threads of their own, and images
            aligned on another. False for tools that read files and give the same images each time.
        stages: The stages in use.
        changes: How often the registration, or why it is not used, has changed since the first.

    Raises:
        ConfigurationError: Thermal or registration parameters that do not go together.
    """

    settings: Settings
    cameras: Callable[[Settings], Cameras] = lambda settings: NO_CAMERAS
    tell: Callable[[str, bool], None] = lambda text, is_problem: None
    in_background: bool = True
    clock_s: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.changes = -1
        self._newest, self._told = ("", False), ""
        self._told_at_s: deque[float] = deque(maxlen=TELL_MAX)
        self._files = CameraFiles()
        limiter = FlickerLimiter() if self.settings.engine.limit_flicker else None
        registration, problem = self._registration(
            self.settings, self._files, FIRST_READ_S, refuse=False
        )
        self.stages = Stages(make_thermal(self.settings), registration, limiter, problem)

    def renew(self, settings: Settings) -> None:
        """Build what other parameters change; all stays as it was when this raises.

        Raises:
            ConfigurationError, CalibrationError: The parameters cannot be used. A calibration
                that has not arrived yet is no error.
        """
        before = self.settings
        # A part that stays keeps its memory: thermal limits, online alignment, flicker.
        thermal, registration, limiter, problem = self.stages
        if settings.thermal != before.thermal:
            thermal = make_thermal(settings)
        if settings.engine.limit_flicker != before.engine.limit_flicker:
            limiter = FlickerLimiter() if settings.engine.limit_flicker else None
        files = self._files
        if settings.registration != before.registration:
            files = files.renewed()
            registration, problem = self._registration(settings, files, READ_S, refuse=True)
        self.settings, self._files = settings, files
        self.stages = Stages(thermal, registration, limiter, problem)

    def renew_registration(self) -> None:
        """Build the registration again: a calibration has arrived or changed."""
        registration, problem = self._registration(self.settings, self._files, 0.0, refuse=False)
        self.stages = self.stages._replace(registration=registration, problem=problem)

    def follow_files(self) -> None:
        """Use a calibration file that took long to read, and tell what was held back.

        Call it now and then.
        """
        self._tell_newest()
        if self._files.arrived() and self.stages.problem:
            self.renew_registration()

    def _registration(
        self, settings: Settings, files: CameraFiles, wait_s: float, refuse: bool
    ) -> tuple[Registration | None, str]:
        """Return the registration asked for, or the fallback and why."""
        try:
            cameras = self.cameras(settings)
            read = partial(files.read, wait_s=wait_s) if self.in_background else read_camera_file
            asked_for = make_registration(settings, cameras, self.in_background, read)
        except CalibrationError as error:
            if refuse and not isinstance(error, CalibrationMissing):
                raise
            self._changed_to(str(error), is_problem=True)
            return fallback_registration(settings), str(error)
        self._changed_to(describe_registration(asked_for), is_problem=False)
        return asked_for, ""

    def _changed_to(self, text: str, is_problem: bool) -> None:
        if text != self._newest[0]:
            self.changes += 1
        self._newest = (text, is_problem)
        self._tell_newest()

    def _tell_newest(self) -> None:
        """Tell the newest change, unless enough were told of late."""
        now_s, told_at_s = self.clock_s(), self._told_at_s
        held = len(told_at_s) == TELL_MAX and now_s - told_at_s[0] < TELL_WINDOW_S
        if self._newest[0] == self._told or held:
            return
        told_at_s.append(now_s)
        self._told = self._newest[0]
        self.tell("registration: " + self._newest[0], self._newest[1])


def make_thermal(settings: Settings) -> ThermalOnce:
    """Build the thermal rescaling.

    Raises:
        ConfigurationError: Parameters that do not go together.
    """
    options = asdict(settings.thermal)
    del options["palette"]  # `MessageChecks` applies it
    if options["method"] != "window":
        options["window_low"] = options["window_high"] = None
    options["saturated"] = options["saturated"] or None
    return ThermalOnce(ThermalRescale(**options))


def make_registration(
    settings: Settings,
    cameras: Cameras = NO_CAMERAS,
    in_background: bool = True,
    read: Callable[[str, str, bool], CameraModel] = read_camera_file,
) -> Registration:
    """Build the registration.

    `in_background` is False for tools that read files: online alignment then runs within `offer`
    and gives the same images each time. `read` reads a calibration file.

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
        options.update(_calibration(settings, cameras, read))
    follows = [("online_", settings.registration.follows_online), ("learned_", mode == "learned")]
    for prefix, wanted in follows:
        if wanted:
            options.update((name, v) for name, v in values.items() if name.startswith(prefix))
            options[prefix + "in_background"] = in_background
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


def _calibration(
    settings: Settings, cameras: Cameras, read: Callable[[str, str, bool], CameraModel]
) -> dict[str, Any]:
    """Return the options of the core's mode `calibration`."""
    values = settings.registration
    options: dict[str, Any] = {"depth_m": values.depth_m}
    for name, known in (("ir", cameras.ir), ("vis", cameras.vis)):
        path, rectified, _ = values.camera(name)
        camera = read(path, name, rectified) if path else known
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
