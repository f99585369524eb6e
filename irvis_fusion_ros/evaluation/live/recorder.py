"""What comes out of the node under evaluation, seen from outside it."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.bags.bag import stamp_of
from irvis_fusion_ros.evaluation.recording import digest
from irvis_fusion_ros.parameters.settings import Settings

DEPTH = 100
_OUTCOME = "frames "


class Arrival(NamedTuple):
    """A fused message as it came in; `arrived_ns` is of the monotonic clock."""

    stamp_ns: int
    image: str
    arrived_ns: int


class LiveRecorder:
    """Subscribes to everything that the node publishes; a context manager."""

    def __init__(self, namespace: str) -> None:
        """Join the graph."""
        self._namespace = namespace
        self._statuses: Dict[str, Any] = {}
        self.arrivals: List[Arrival] = []
        self.skews_ms: List[float] = []
        rclpy.init(args=[])
        self._node = rclpy.create_node("evaluation_recorder", namespace=namespace)
        profile = QoSProfile(depth=DEPTH, reliability=QoSReliabilityPolicy.RELIABLE)
        create = self._node.create_subscription
        create(Image, "fused/image_raw", self._on_fused, profile)
        create(Float32, "fusion_node/debug/skew_ms", self._on_skew, profile)
        create(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def __enter__(self) -> LiveRecorder:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Listen until the condition holds; False where it did not in time."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if condition():
                return True
            rclpy.spin_once(self._node, timeout_sec=0.05)
        return condition()

    def engine_state(self) -> str:
        """What the node says of its engine: "loading", "ready", ..."""
        return self._values("engine").get("state", "unknown")

    def statuses(self) -> str:
        """What the node says of itself, in one line."""
        return "; ".join(f"{name}: {s.message}" for name, s in self._statuses.items())

    def outcomes(self) -> Dict[str, int]:
        """How many frames were fused, passed or dropped since the node started, by cause."""
        return {
            key[len(_OUTCOME) :]: int(value)
            for key, value in self._values("fusion").items()
            if key.startswith(_OUTCOME)
        }

    def engine(self) -> Dict[str, str]:
        """The engine as the node describes it."""
        return self._values("engine")

    def forget_warm_up(self, settings: Settings) -> None:
        """Let the node begin anew with pairing, health and thermal limits.

        A parameter that is changed and changed back does that; all else stays as it is.

        Raises:
            EngineError: the node did not answer, or refused.
        """
        for name in ("thermal.smoothing_s", "ir_time_offset_s"):
            value = float(settings.value(name))
            for each in (value - 0.5 if value > 1.0 else value + 0.5, value):
                self._set(Parameter(name, value=each))
        self.arrivals.clear()
        self.skews_ms.clear()

    def _set(self, parameter: Any) -> None:
        service = f"{self._namespace}/fusion_node/set_parameters"
        client = self._node.create_client(SetParameters, service)
        self.spin_until(client.service_is_ready, 10.0)
        request = SetParameters.Request(parameters=[parameter.to_parameter_msg()])
        future = client.call_async(request)
        if not self.spin_until(future.done, 10.0) or not future.result().results[0].successful:
            said = future.result().results[0].reason if future.done() else "no answer"
            raise EngineError(f"expected the node to set {parameter.name}, found: {said}")
        self._node.destroy_client(client)

    def _values(self, status: str) -> Dict[str, str]:
        if status not in self._statuses:
            return {}
        return {pair.key: pair.value for pair in self._statuses[status].values}

    def _on_fused(self, message: Image) -> None:
        arrived_ns = time.monotonic_ns()
        self.arrivals.append(Arrival(stamp_of(message), digest(message) or "", arrived_ns))

    def _on_skew(self, message: Float32) -> None:
        self.skews_ms.append(float(message.data))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        prefix = self._namespace.strip("/") + "/"
        for status in message.status:
            if status.name.startswith(prefix):
                self._statuses[status.name.rpartition(": ")[2]] = status
