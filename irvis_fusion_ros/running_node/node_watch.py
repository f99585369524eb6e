"""Read the fusion node's state from /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from irvis_fusion_core.errors import EngineError

SHOWN = ("engine", "device", "variant", "precision", "inference_precision", "threads")
OUTCOME = "frames "
"""Prefix of the diagnostics keys that count the outcomes of frames."""
READY_TIMEOUT_S = 30.0
"""From a ready engine to the first fused images."""


class NodeWatch:
    """Listens to the /diagnostics of the node in a namespace; a context manager.

    Attributes:
        node: The rclpy node that listens, for further subscriptions and clients.
    """

    def __init__(self, namespace: str, name: str = "node_watch") -> None:
        self._prefix = namespace.strip("/") + "/"
        self._statuses: dict[str, DiagnosticStatus] = {}
        rclpy.init(args=[])
        self.node = rclpy.create_node(name, namespace=namespace)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 10)

    def spin(self, seconds: float) -> None:
        """Take messages for `seconds`."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Take messages until the condition holds; return whether it does."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if condition():
                return True
            left_s = max(0.0, until - time.monotonic())
            rclpy.spin_once(self.node, timeout_sec=min(0.05, left_s))
        return condition()

    def outcomes(self) -> dict[str, int]:
        """Return outcome -> number of frames since the node started."""
        return {
            key[len(OUTCOME) :]: int(value)
            for key, value in self._values("fusion").items()
            if key.startswith(OUTCOME)
        }

    def engine(self) -> dict[str, str]:
        """Return the engine's facts, among them `state`; empty before the first report."""
        return self._values("engine")

    def engine_line(self) -> str:
        """Return the main facts of the engine in one line."""
        facts = self.engine()
        return ", ".join(f"{key}: {facts[key]}" for key in SHOWN if key in facts)

    def statuses(self) -> str:
        """Return the node's status messages in one line."""
        return "; ".join(f"{name}: {s.message}" for name, s in self._statuses.items())

    def wait_until_fusing(
        self,
        timeout_s: float,
        check: Callable[[], None] = lambda: None,
        frames: int = 1,
    ) -> None:
        """Take messages until the node has fused a number of frames.

        `timeout_s` is for everything, an engine to build included. `check` is called meanwhile; it
        raises where a process has ended.

        Raises:
            EngineError: The node has not fused in time.
        """
        started_s = time.monotonic()
        ready_s: float | None = None

        def fusing() -> bool:
            check()
            return self.outcomes().get("fused", 0) >= frames

        while not self.spin_until(fusing, 0.5):
            now_s = time.monotonic()
            if self.engine().get("state") != "ready":
                ready_s = None  # it may warm up again, and build for minutes
            elif ready_s is None:
                ready_s = now_s
            waited_too_long = ready_s is not None and now_s - ready_s >= READY_TIMEOUT_S
            if waited_too_long or now_s - started_s >= timeout_s:
                raise EngineError(
                    f"expected the node to fuse, found after {now_s - started_s:.0f} s: "
                    f"{self.statuses() or 'no diagnostics from it'}; run `irvis_fusion doctor`"
                )

    def close(self) -> None:
        """Leave the graph."""
        self.node.destroy_node()
        rclpy.try_shutdown()

    def _values(self, status: str) -> dict[str, str]:
        if status not in self._statuses:
            return {}
        return {pair.key: pair.value for pair in self._statuses[status].values}

    def _on_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(self._prefix):
                self._statuses[status.name.rpartition(": ")[2]] = status

    def __enter__(self) -> NodeWatch:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
