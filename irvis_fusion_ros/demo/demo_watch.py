"""The demo's observer: what the fusion node says of itself in /diagnostics."""

from __future__ import annotations

import time
from typing import Any, Dict

import rclpy
from diagnostic_msgs.msg import DiagnosticArray

from irvis_fusion_core.errors import EngineError

SHOWN = ("engine", "device", "variant", "precision", "inference_precision", "threads")
OUTCOME = "frames "
"""How the keys begin that count what became of frames."""


class NodeWatch:
    """Listens to /diagnostics of a node in a namespace; a context manager."""

    def __init__(self, namespace: str) -> None:
        """Listen."""
        self._prefix = namespace.strip("/") + "/"
        self._statuses: Dict[str, Any] = {}
        rclpy.init(args=[])
        self._node = rclpy.create_node("demo_watch", namespace=namespace)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 10)

    def _on_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(self._prefix):
                self._statuses[status.name.rpartition(": ")[2]] = status

    def _values(self, status: str) -> Dict[str, str]:
        if status not in self._statuses:
            return {}
        return {pair.key: pair.value for pair in self._statuses[status].values}

    def wait(self, seconds: float) -> None:
        """Listen for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rclpy.spin_once(self._node, timeout_sec=min(0.1, seconds))

    def outcomes(self) -> Dict[str, int]:
        """How many frames were fused, passed through or dropped since the node started."""
        values = self._values("fusion")
        return {
            key[len(OUTCOME) :]: int(value)
            for key, value in values.items()
            if key.startswith(OUTCOME)
        }

    def wait_until_fusing(self, timeout_s: float) -> str:
        """Listen until the node fuses; returns what it says of its engine.

        Raises:
            EngineError: it does not in time.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            self.wait(0.2)
            if float(self._values("fusion").get("fused_hz", 0.0)) > 0.0:
                facts = self._values("engine")
                return ", ".join(f"{key}: {facts[key]}" for key in SHOWN if key in facts)
        said = "; ".join(f"{name}: {s.message}" for name, s in self._statuses.items())
        raise EngineError(
            f"expected the node to fuse within {timeout_s:.0f} s, found: "
            f"{said or 'no diagnostics from it'}; run `irvis_fusion doctor`"
        )

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_node()
        rclpy.try_shutdown()

    def __enter__(self) -> NodeWatch:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
