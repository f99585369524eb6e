"""Record what the running node publishes, in another process."""

from __future__ import annotations

import time
from typing import NamedTuple

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

from irvis_fusion_core.errors import EngineError
from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.evaluation.recording import digest
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.running_node.node_watch import NodeWatch

DEPTH = 100
SERVICE_TIMEOUT_S = 10.0


class Arrival(NamedTuple):
    """A fused message that was received; `arrived_ns` is of the monotonic clock."""

    stamp_ns: int
    image: str
    arrived_ns: int


class LiveRecorder(NodeWatch):
    """Records fused images and skews of the node, in order of arrival; a context manager."""

    def __init__(self, namespace: str) -> None:
        """Initialise rclpy and subscribe."""
        super().__init__(namespace, "evaluation_recorder")
        self.arrivals: list[Arrival] = []
        self.skews_ms: list[float] = []
        profile = QoSProfile(depth=DEPTH, reliability=QoSReliabilityPolicy.RELIABLE)
        create = self.node.create_subscription
        create(Image, "fused/image_raw", self._on_fused, profile)
        create(Float32, "fusion_node/debug/skew_ms", self._on_skew, profile)
        self._client = self.node.create_client(SetParameters, "fusion_node/set_parameters")

    def forget_warm_up(self, settings: Settings) -> None:
        """Reset the node's pairing, health and thermal limits, and this record.

        Changing a parameter resets what depends on it, so two are changed and changed back.

        Raises:
            EngineError: The node did not answer, or refused.
        """
        for name in ("thermal.smoothing_s", "ir_time_offset_s"):
            value = float(settings.value(name))
            for each in (value - 0.5 if value > 1.0 else value + 0.5, value):
                parameter = Parameter(name, value=each).to_parameter_msg()
                self.spin_until(self._client.service_is_ready, SERVICE_TIMEOUT_S)
                request = SetParameters.Request(parameters=[parameter])
                future = self._client.call_async(request)
                done = self.spin_until(future.done, SERVICE_TIMEOUT_S)
                if not done or not future.result().results[0].successful:
                    said = future.result().results[0].reason if done else "no answer"
                    raise EngineError(f"expected the node to set {name}, found: {said}")
        self.arrivals.clear()
        self.skews_ms.clear()

    def _on_fused(self, message: Image) -> None:
        arrived_ns = time.monotonic_ns()
        image = digest(message) or ""
        self.arrivals.append(Arrival(stamp_ns(message.header.stamp), image, arrived_ns))

    def _on_skew(self, message: Float32) -> None:
        self.skews_ms.append(float(message.data))
