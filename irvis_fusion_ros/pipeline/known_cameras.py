"""What camera_info messages and static transforms tell of the cameras; for node and bags alike.

Messages are taken by their fields, so that those of a bag's reader serve as well as rclpy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_model import CameraModel, camera_from_info
from irvis_fusion_ros.parameters.settings import RegistrationSettings
from irvis_fusion_ros.pipeline.stages import Cameras
from irvis_fusion_ros.pipeline.static_transforms import Extrinsics, StaticTransforms


def known_cameras(
    settings: RegistrationSettings,
    infos: Mapping[str, Any],
    transforms: StaticTransforms,
    tf_problem: str = "",
    topic_of: Callable[[str], str] = lambda name: name + "/camera_info",
) -> Cameras:
    """Return both cameras and their extrinsics, as far as they are known; never raises.

    Args:
        settings: the registration parameters.
        infos: the newest sensor_msgs/CameraInfo of "ir" and "vis", where one has arrived.
        transforms: the static tree so far.
        tf_problem: why there can be no transforms at all.
        topic_of: name of a camera's calibration topic, for messages.
    """
    missing: dict[str, str] = {}
    models: dict[str, CameraModel | None] = {}
    for name in ("ir", "vis"):
        models[name] = None
        if name not in infos:
            missing[name] = (
                f"no calibration of the {name} camera has arrived on {topic_of(name)}; publish it"
                f" there, or set registration.{name}_calibration_file"
            )
            continue
        try:
            rectified = settings.camera(name).rectified
            models[name] = camera_from_info(infos[name], name, rectified)
        except CalibrationError as error:
            missing[name] = str(error)
    extrinsics = None
    if settings.extrinsics == "tf":
        try:
            if tf_problem:
                raise CalibrationError(tf_problem)
            extrinsics = _between(settings, infos, transforms)
        except CalibrationError as error:
            missing["extrinsics"] = str(error)
    return Cameras(models["ir"], models["vis"], extrinsics, missing)


def _between(
    settings: RegistrationSettings, infos: Mapping[str, Any], transforms: StaticTransforms
) -> Extrinsics:
    """Return where the IR camera's frame stands in the visible one's."""
    frames = {}
    for name in ("vis", "ir"):
        frame = settings.camera(name).frame
        if not frame and name in infos:
            frame = infos[name].header.frame_id
        if not frame:
            raise CalibrationError(
                f"the frame of the {name} camera is not known: set registration.{name}_frame, or"
                f" publish {name}/camera_info with a frame_id"
            )
        frames[name] = frame
    return transforms.between(frames["vis"], frames["ir"])
