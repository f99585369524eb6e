"""The calibration topics: camera_info of both cameras, and /tf_static.

Subscribed to only while the parameters need them (`registration.mode: calibration`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from irvis_fusion_ros.node.guard import Guard
from irvis_fusion_ros.node.topics.qos import MatchedSubscription
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.known_cameras import Cameras, KnownCameras, needed_topics

IR_INFO = "ir/camera_info"
TF_STATIC = "/tf_static"
TF_DEPTH = 100
"""Publishers of /tf_static, and updates of each, that may be received at once."""


class CalibrationTopics:
    """Holds what the calibration topics tell. All methods belong to the executor's thread."""

    def __init__(
        self, node: Node, live: LiveSettings, guard: Guard, on_change: Callable[[], None]
    ) -> None:
        """Subscribe to nothing yet; `follow` does.

        `on_change` is called when something arrived that changes the registration.
        """
        self._node = node
        self._live = live
        self._guard = guard
        self._on_change = on_change
        self._cameras = KnownCameras(
            lambda camera: str(node.resolve_topic_name(camera + "/camera_info"))
        )
        self._tf_problem = ""
        self._tf: Any = None
        self._ir_info = MatchedSubscription(
            node,
            CameraInfo,
            IR_INFO,
            guard("an infrared calibration message", lambda message: self.add_info("ir", message)),
            live.current.topics.camera("ir").reliability,
            depth=1,
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._ir_info.close()
        self._close_tf()

    def reopen(self) -> None:
        """Close what is open, and subscribe again."""
        self._ir_info.close()
        self._close_tf()
        self.follow()

    def follow(self) -> None:
        """Subscribe to what the parameters need, and to nothing else."""
        ir_info, _, tf = needed_topics(self._live.current)  # vis/camera_info is always needed
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
        callback = self._guard("a static transform", self._on_transforms)
        # Its own group, as of MatchedSubscription.
        group = MutuallyExclusiveCallbackGroup()
        self._tf = self._node.create_subscription(
            TFMessage, TF_STATIC, callback, profile, callback_group=group
        )

    def _close_tf(self) -> None:
        self._tf_problem = ""
        if self._tf is not None:
            self._node.destroy_subscription(self._tf)
            self._cameras.forget_transforms()
        self._tf = None

    def _on_transforms(self, message: Any) -> None:
        if self._cameras.add_transforms(message, self._live.current):
            self._changed()

    def _changed(self) -> None:
        if self._live.current.registration.base_mode == "calibration":
            self._on_change()

    def watch(self) -> None:
        """Follow what the publishers of IR_INFO offer."""
        changed = self._ir_info.poll(time.monotonic())
        if changed:
            self._node.get_logger().info(changed)
