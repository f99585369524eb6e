"""What /diagnostics says, put together from the node's parts once a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from irvis_fusion_ros.node.frame_processor import FUSED
from irvis_fusion_ros.node.reports.diagnostics import (
    ERROR,
    OK,
    WARN,
    RateMeter,
    Status,
    make_diagnostics,
)
from irvis_fusion_ros.node.worker import FAILED, READY

__all__ = ["DiagnosticArray", "Report"]

QUIET_S = 2.0
"""Without a visible frame for so long, the report is an error."""


HINTS = {
    "overrun": "the engine is slower than the camera: take a smaller model or smaller images",
    "engine_stuck": "the engine takes far longer than usual; what else runs on its device?",
    "no_partner": "pairing: latest_ir fuses every visible frame",
}
"""What helps, by the reason why a frame was not fused."""


class Report:
    """Builds the statuses of a FusionNode: fusion, ir, vis, engine, registration, messages."""

    def __init__(self, node: Any) -> None:
        """Read from `node`, which owns the parts."""
        self._node = node
        self._rates: dict[str, RateMeter] = {}
        self._fused_before = 0
        self._passed_before = 0
        self._events_before = 0
        self._active_s = time.monotonic()

    def make(
        self, silent: Mapping[str, str | None], engine_text: Mapping[str, str]
    ) -> DiagnosticArray:
        """Return the message. `silent` says why an input is silent, if it is."""
        statuses = [
            self._fusion(),
            self._input("ir", silent.get("ir")),
            self._input("vis", silent.get("vis")),
            self._engine(engine_text),
            self._node.processor.registration_status(),
            self._messages(),
        ]
        node = self._node
        name = node.get_fully_qualified_name().lstrip("/")
        named = [s._replace(name=f"{name}: {s.name}") for s in statuses]
        return make_diagnostics(node.get_clock().now().to_msg(), name, named)

    def _rate(self, name: str, count: int) -> float:
        return self._rates.setdefault(name, RateMeter()).rate_hz(time.monotonic(), count)

    def _fusion(self) -> Status:
        node = self._node
        outcomes = node.processor.outcomes.counts()
        fused = outcomes.get(FUSED, 0)
        others = sum(outcomes.values()) - fused
        new_fused, new_others = fused - self._fused_before, others - self._passed_before
        self._fused_before, self._passed_before = fused, others
        if new_fused or new_others or not node.inputs["vis"].is_open:
            self._active_s = time.monotonic()
        values = {"fused_hz": "{:.1f}".format(self._rate("fused", fused))}
        values.update(("frames " + kind, str(count)) for kind, count in sorted(outcomes.items()))
        if node.worker is not None:
            values["displaced"] = str(node.worker.mailbox.displaced_count)
        values.update(("pairing " + k, str(v)) for k, v in sorted(node.intake.counters().items()))
        values.update(node.latencies.describe())
        values["enabled"] = str(node.settings.current.node.enabled).lower()
        level, message = OK, "fusing"
        if not node.inputs["vis"].is_open:
            message = "idle: nobody subscribes to the fused topics"
            if node.state_label != "active":
                message = "idle: the node is " + node.state_label
        elif new_others:
            level = OK if not node.settings.current.node.enabled else WARN
            all_new, last = new_others + new_fused, node.processor.last_unfused
            message = f"{new_others} of {all_new} frames not fused, the last: {last}"
            hint = HINTS.get(last.rpartition(": ")[2])
            message += f"; {hint}" if hint else ""
        elif not new_fused and time.monotonic() - self._active_s > QUIET_S:
            level, message = ERROR, f"no visible frame arrived for {QUIET_S:.0f} s"
        return Status("fusion", level, message, values)

    def _input(self, name: str, silent: str | None) -> Status:
        node = self._node
        subscription = node.inputs[name]
        values = subscription.describe()
        values["rate_hz"] = f"{self._rate(name, subscription.received):.1f}"
        size = node.intake.ir_size if name == "ir" else node.intake.vis_size
        values["size"] = "{1}x{0}".format(*size) if size else "unknown"
        level, message = OK, "receiving"
        if not subscription.is_open:
            message = "not subscribed"
        elif name == "ir":
            verdict = node.intake.judge_now()
            values["reason"] = verdict.reason
            level, message = (OK if verdict.usable else WARN), verdict.text
        if silent:
            level, message = (WARN if name == "ir" else ERROR), silent
        return Status(name, level, message, values)

    def _engine(self, engine_text: Mapping[str, str]) -> Status:
        worker = self._node.worker
        values = dict(engine_text)
        if worker is None:
            return Status("engine", WARN, "stopped", values)
        level = {READY: OK, FAILED: ERROR}.get(worker.state, WARN)
        message = worker.state + (": " + worker.reason if worker.reason else "")
        if worker.state == READY and worker.mailbox.given_up:
            stuck_s = worker.mailbox.busy_s(time.monotonic())
            level = ERROR
            message = f"at one frame for {stuck_s:.1f} s; the visible image passes meanwhile"
        values["state"] = worker.state
        values["openings"] = str(worker.openings)
        values["failures"] = str(worker.failures)
        values["stalls"] = str(worker.mailbox.given_up_count)
        values["patience_s"] = f"{worker.patience_s:.2f}"
        return Status("engine", level, message, values)

    def _messages(self) -> Status:
        events = self._node.events
        values: dict[str, str] = events.describe()
        new = events.total() - self._events_before
        self._events_before += new
        kinds: list[str] = sorted(values)
        if not kinds:
            return Status("messages", OK, "no bad message", values)
        message = "{} bad since the last report; kinds so far: {}".format(new, ", ".join(kinds))
        return Status("messages", WARN if new else OK, message, values)
