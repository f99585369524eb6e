"""The calibration topics: camera_info of both cameras, and /tf_static.

Subscribed to only while the parameters need them (`registration.mode: calibration`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo

from irvis_fusion_ros.node.guard import Guard
from irvis_fusion_ros.node.topics.qos import MatchedSubscription
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.known_cameras import Cameras, KnownCameras, needed_topics

IR_INFO = "ir/camera_info"
TF_STATIC = "/tf_static"
TF_DEPTH = 100
"""Publishers of /tf_static, and updates of each, that may be received at once."""


@dataclass(eq=False)
class CalibrationTopics:
    """Holds what the calibration topics tell; `follow` subscribes to them.

    All methods belong to the executor's thread. `on_change` is called when something arrived that
    changes the registration.
    """

    node: Node
    live: LiveSettings
    guard: Guard
    on_change: Callable[[], None]

    def __post_init__(self) -> None:
        self._cameras = KnownCameras(
            lambda camera: str(self.node.resolve_topic_name(camera + "/camera_info"))
        )
        self._tf_problem = ""
        self._tf: Any = None
        self._ir_info = MatchedSubscription(
            self.node,
            CameraInfo,
            IR_INFO,
            self.guard("an infrared calibration message", self._on_ir_info),
            self.live.current.topics.camera("ir").reliability,
            depth=1,
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._ir_info.close()
        self._close_tf()

    def follow(self) -> None:
        """Subscribe to what the parameters need, and to nothing else."""
        ir_info, _, tf = needed_topics(self.live.current)  # vis/camera_info is always needed
        if ir_info:
            self._ir_info.open(time.monotonic())
        else:
            self._ir_info.close()
        if tf:
            self._open_tf()
        else:
            self._close_tf()

    def add_info(self, camera: str, message: CameraInfo) -> None:
        """Take a camera_info of "ir" or "vis"; most are the same as the one before."""
        if self._cameras.add_info(camera, message):
            self._changed()

    def _on_ir_info(self, raw: bytes) -> None:
        self.add_info("ir", deserialize_message(raw, CameraInfo))

    def snapshot(self, settings: Settings) -> Cameras:
        """Return what is known, as `settings` see it; never raises."""
        return self._cameras.snapshot(settings, self._tf_problem)

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
        callback = self.guard("a static transform", self._on_transforms)
        # Its own group, as of MatchedSubscription.
        group = MutuallyExclusiveCallbackGroup()
        self._tf = self.node.create_subscription(
            TFMessage, TF_STATIC, callback, profile, callback_group=group
        )

    def _close_tf(self) -> None:
        self._tf_problem = ""
        if self._tf is not None:
            self.node.destroy_subscription(self._tf)
            self._cameras.forget_transforms()
        self._tf = None

    def _on_transforms(self, message: Any) -> None:
        if self._cameras.add_transforms(message, self.live.current):
            self._changed()

    def _changed(self) -> None:
        if self.live.current.registration.base_mode == "calibration":
            self.on_change()

    def watch(self) -> None:
        """Follow what the publishers of IR_INFO offer."""
        changed = self._ir_info.poll(time.monotonic())
        if changed:
            self.node.get_logger().info(changed)
