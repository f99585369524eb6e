"""What camera_info messages and static transforms tell about the cameras, for node and bags.

Messages are read by their fields, so those of a bag reader serve as well as those of rclpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_model import CameraModel, camera_from_info
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.stages import Cameras
from irvis_fusion_ros.pipeline.static_transforms import Extrinsics, StaticTransforms


class KnownCameras:
    """Gathers calibration messages and says what they tell."""

    def __init__(
        self, topic_of: Callable[[str], str] = lambda camera: camera + "/camera_info"
    ) -> None:
        """Know nothing yet; `topic_of(camera)` names a calibration topic in messages."""
        self._topic_of = topic_of
        self._infos: dict[str, Any] = {}
        self._contents: dict[str, tuple[object, ...]] = {}
        self._transforms = StaticTransforms()

    def add_info(self, camera: str, message: Any) -> bool:
        """Take a sensor_msgs/CameraInfo of "ir" or "vis"; True when it is not the one before."""
        content = _content(message)
        if self._contents.get(camera) == content:
            return False
        self._contents[camera], self._infos[camera] = content, message
        return True

    def add_transforms(self, message: Any, settings: Settings) -> bool:
        """Take a tf2_msgs/TFMessage of /tf_static; True when it moves the cameras.

        Raises:
            CalibrationError: A rotation in it is not a rotation.
        """
        before = self._placement(settings)
        self._transforms.add(message)
        # A robot's tree has many links, and few of them are between the cameras.
        return self._placement(settings) != before

    def forget_transforms(self) -> None:
        """Forget the static tree."""
        self._transforms = StaticTransforms()

    def snapshot(self, settings: Settings, tf_problem: str = "") -> Cameras:
        """Return what is known; never raises. `tf_problem`: why there can be no transforms."""
        missing: dict[str, str] = {}
        registration = settings.registration
        models: dict[str, CameraModel | None] = {"ir": None, "vis": None}
        for camera in models:
            if camera not in self._infos:
                missing[camera] = (
                    f"no calibration of the {camera} camera has arrived on"
                    f" {self._topic_of(camera)}; publish it there, or set"
                    f" registration.{camera}_calibration_file"
                )
                continue
            try:
                info = self._infos[camera]
                models[camera] = camera_from_info(
                    info, camera, registration.camera(camera).rectified
                )
            except CalibrationError as error:
                missing[camera] = str(error)
        extrinsics = None
        if registration.extrinsics == "tf":
            try:
                if tf_problem:
                    raise CalibrationError(tf_problem)
                extrinsics = self._between(settings)
            except CalibrationError as error:
                missing["extrinsics"] = str(error)
        return Cameras(models["ir"], models["vis"], extrinsics, missing)

    def _placement(self, settings: Settings) -> tuple[bytes, ...] | None:
        extrinsics = self.snapshot(settings).extrinsics
        return None if extrinsics is None else tuple(part.tobytes() for part in extrinsics)

    def _between(self, settings: Settings) -> Extrinsics:
        """Return where the IR camera's frame stands in the visible one's."""
        frames = {name: settings.registration.camera(name).frame for name in ("vis", "ir")}
        for camera, frame in frames.items():
            if not frame and camera in self._infos:
                frames[camera] = self._infos[camera].header.frame_id
            if not frames[camera]:
                raise CalibrationError(
                    f"the frame of the {camera} camera is not known: set"
                    f" registration.{camera}_frame, or publish {camera}/camera_info with a"
                    " frame_id"
                )
        return self._transforms.between(frames["vis"], frames["ir"])


def needed_topics(settings: Settings) -> tuple[bool, bool, bool]:
    """Return whether the registration needs ir/camera_info, vis/camera_info and /tf_static."""
    registration = settings.registration
    if registration.base_mode != "calibration":
        return False, False, False
    return (
        not registration.ir_calibration_file,
        not registration.vis_calibration_file,
        registration.extrinsics == "tf",
    )


def _content(info: Any) -> tuple[object, ...]:
    """Return what two camera_info messages of one calibration have in common."""
    roi = info.roi
    return (
        info.height,
        info.width,
        info.distortion_model,
        info.header.frame_id,
        # As bytes: NaN differs from itself, and each message would be a change.
        *(np.asarray(part, float).tobytes() for part in (info.k, info.p, info.d, info.r)),
        (roi.x_offset, roi.y_offset, roi.height, roi.width),
    )
