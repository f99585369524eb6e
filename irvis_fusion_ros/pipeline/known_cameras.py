"""What camera_info messages and static transforms tell about the cameras, for node and bags.

Messages are read by their fields, so those of a bag reader serve as well as those of rclpy.
Cameras on one mount do not move against one another, so the static tree is enough, and tf2 is not
needed; a chain over a moving joint (/tf) cannot be used for a calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_geometry import quaternion_matrix
from irvis_fusion_core.registration.camera_model import CameraModel, camera_from_info
from irvis_fusion_ros.parameters.settings import Settings

LONGEST_CHAIN = 100
"""Links from a frame to its root; a longer chain is a loop."""


class Extrinsics(NamedTuple):
    """Points of a source frame in a target frame: X_target = rotation X_source + translation."""

    rotation: np.ndarray
    translation_m: np.ndarray


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


class StaticTransforms:
    """The static tree: every frame's parent, and where it stands in it."""

    def __init__(self) -> None:
        self._links: dict[str, tuple[str, Extrinsics]] = {}

    def add(self, message: Any) -> None:
        """Take a tf2_msgs/msg/TFMessage.

        Raises:
            CalibrationError: a rotation is not a valid quaternion; the links before it are kept.
        """
        for stamped in message.transforms:
            q, t = stamped.transform.rotation, stamped.transform.translation
            link = Extrinsics(quaternion_matrix((q.x, q.y, q.z, q.w)), np.array((t.x, t.y, t.z)))
            self._links[_name(stamped.child_frame_id)] = (_name(stamped.header.frame_id), link)

    def between(self, target: str, source: str) -> Extrinsics:
        """Points of `source` in `target`, as `tf2_echo TARGET SOURCE` prints.

        Raises:
            CalibrationError: the two are not connected; says what is known.
        """
        to_root, root = self._to_root(_name(source))
        from_root, other_root = self._to_root(_name(target))
        if root != other_root:
            known = ", ".join(sorted(self._links)[:20]) or "none"
            raise CalibrationError(
                f"no static transform leads from {source!r} to {target!r}; frames on /tf_static:"
                f" {known}"
            )
        rotation = from_root.rotation.T @ to_root.rotation
        offset = from_root.rotation.T @ (to_root.translation_m - from_root.translation_m)
        return Extrinsics(rotation, offset)

    def _to_root(self, frame: str) -> tuple[Extrinsics, str]:
        """Points of `frame` in the frame at the root of its tree, and that one's name."""
        rotation, offset = np.eye(3), np.zeros(3)
        for _ in range(LONGEST_CHAIN):
            if frame not in self._links:
                return Extrinsics(rotation, offset), frame
            frame, link = self._links[frame]
            rotation = link.rotation @ rotation
            offset = link.rotation @ offset + link.translation_m
        raise CalibrationError(f"the static transforms above {frame!r} form a loop")


@dataclass(eq=False)
class KnownCameras:
    """Gathers calibration messages; `topic_of(camera)` names a calibration topic in errors."""

    topic_of: Callable[[str], str] = lambda camera: camera + "/camera_info"

    def __post_init__(self) -> None:
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
            try:
                if camera not in self._infos:
                    raise CalibrationError(
                        f"no calibration of the {camera} camera has arrived on"
                        f" {self.topic_of(camera)}; publish it there, or set"
                        f" registration.{camera}_calibration_file"
                    )
                rectified = registration.camera(camera).rectified
                models[camera] = camera_from_info(self._infos[camera], camera, rectified)
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
        (getattr(info, "binning_x", 0), getattr(info, "binning_y", 0)),
    )


def _name(frame: str) -> str:
    """Frame names of ROS 1 began with a slash."""
    return str(frame).lstrip("/")
