"""What `registration.mode: calibration` needs from the graph: camera_info, and /tf_static.

Subscribed to only while the parameters ask for it. `on_change` is called when something has
arrived that changes the registration; `snapshot` says what is known and why the rest is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from irvis_fusion_ros.node.topics.qos import MatchedSubscription, QosPreference
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.known_cameras import known_cameras
from irvis_fusion_ros.pipeline.stages import Cameras
from irvis_fusion_ros.pipeline.static_transforms import StaticTransforms

IR_INFO = "ir/camera_info"
TF_STATIC = "/tf_static"
POLL_S = 0.5
"""How often the offers of IR_INFO's publishers are read anew."""
TF_DEPTH = 100
"""Publishers of /tf_static, and updates of each, that may be received at once."""

Guarded = Callable[[str, Callable[..., Any]], Callable[..., Any]]


class CameraCalibrations:
    """Holds the newest calibration of each camera and the static transforms.

    All methods belong to the executor's thread; `close` ends it.
    """

    def __init__(self, node: Any, settings: LiveSettings, guard: Guarded) -> None:
        """Subscribe to nothing yet; `guard(name, callback)` wraps what rclpy calls."""
        self.on_change: Callable[[], None] = lambda: None
        self._node = node
        self._settings = settings
        self._guard = guard
        self._infos: dict[str, Any] = {}
        self._keys: dict[str, tuple] = {}
        self._transforms = StaticTransforms()
        self._tf_problem = ""
        self._tf: Any | None = None
        preference = QosPreference(settings.current.topics.ir_qos_reliability, depth=1)
        self._ir_info = MatchedSubscription(
            node,
            CameraInfo,
            IR_INFO,
            guard("an infrared calibration message", lambda message: self.add_info("ir", message)),
            preference,
        )
        self._timer = node.create_timer(
            POLL_S,
            guard("calibrations", self._poll),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self.follow()

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        self._ir_info.close()
        self._close_tf()

    def log(self, text: str) -> None:
        """Tell the node's log."""
        self._node.get_logger().info(text)

    def warn(self, text: str) -> None:
        """Tell the node's log of a problem."""
        self._node.get_logger().warning(text)

    def follow(self) -> None:
        """Subscribe to what the present parameters need, and to nothing else."""
        registration = self._settings.current.registration
        wanted = registration.base_mode == "calibration"
        if wanted and not registration.ir_calibration_file:
            self._ir_info.open(time.monotonic())
        else:
            self._ir_info.close()
        if wanted and registration.extrinsics == "tf":
            self._open_tf()
        else:
            self._close_tf()

    def add_info(self, camera: str, message: Any) -> None:
        """Take a camera_info of "ir" or "vis"; most are the same as the one before."""
        roi = message.roi
        key = (
            message.height,
            message.width,
            message.distortion_model,
            message.header.frame_id,
            # As bytes: NaN differs from itself, and each message would be a change.
            *(
                np.asarray(list(part), float).tobytes()
                for part in (message.k, message.p, message.d)
            ),
            (roi.x_offset, roi.y_offset, roi.height, roi.width),
        )
        if self._keys.get(camera) == key:
            return
        self._keys[camera] = key
        self._infos[camera] = message
        self._changed()

    def snapshot(self) -> Cameras:
        """Return what is known; never raises."""
        return known_cameras(
            self._settings.current.registration,
            self._infos,
            self._transforms,
            tf_problem=self._tf_problem,
            topic_of=lambda name: str(self._node.resolve_topic_name(name + "/camera_info")),
        )

    def _open_tf(self) -> None:
        if self._tf is not None:
            return
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self._tf_problem = (
                "registration.extrinsics is tf, but the message package tf2_msgs is not installed;"
                " install ros-$ROS_DISTRO-tf2-msgs, or set it to parameters and give"
                " translation_m and rotation_xyzw"
            )
            return
        self._tf_problem = ""
        profile = QoSProfile(
            depth=TF_DEPTH,
            reliability=QoSReliabilityPolicy.RELIABLE,
            durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
        )
        callback = self._guard("a static transform", self._on_transforms)
        self._tf = self._node.create_subscription(TFMessage, TF_STATIC, callback, profile)

    def _close_tf(self) -> None:
        self._tf_problem = ""
        if self._tf is not None:
            self._node.destroy_subscription(self._tf)
        self._tf, self._transforms = None, StaticTransforms()

    def _on_transforms(self, message: Any) -> None:
        before = self._extrinsics_key()
        self._transforms.add(message)
        # A robot's tree has many links, and few of them are between the cameras.
        if self._extrinsics_key() != before:
            self._changed()

    def _extrinsics_key(self) -> tuple[bytes, ...] | None:
        extrinsics = self.snapshot().extrinsics
        return None if extrinsics is None else tuple(part.tobytes() for part in extrinsics)

    def _changed(self) -> None:
        if self._settings.current.registration.base_mode == "calibration":
            self.on_change()

    def _poll(self) -> None:
        changed = self._ir_info.poll(time.monotonic())
        if changed:
            self.log(changed)
