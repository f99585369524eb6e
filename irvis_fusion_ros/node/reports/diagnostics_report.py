"""What /diagnostics says, gathered from the parts of the node once a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode

from irvis_fusion_ros.node.engine_state import FAILED, READY, EngineState
from irvis_fusion_ros.node.frame_intake import FrameIntake
from irvis_fusion_ros.node.frame_output import FrameOutput
from irvis_fusion_ros.node.reports.diagnostics import (
    ERROR,
    OK,
    WARN,
    RateMeter,
    Status,
    make_diagnostics,
    registration_status,
)
from irvis_fusion_ros.node.reports.latency_topics import LatencyTopics
from irvis_fusion_ros.node.topics.input_topics import CameraTopics
from irvis_fusion_ros.node.worker import FusionWorker
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.events import EventCounter
from irvis_fusion_ros.pipeline.frame_decision import Decision
from irvis_fusion_ros.pipeline.frames import FUSED
from irvis_fusion_ros.pipeline.message_checks import MessageChecks
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser

QUIET_S = 2.0
"""Without a visible frame for this long, the report is an error."""

HINTS = {
    "overrun": "the engine is slower than the camera: take a smaller model or smaller images",
    "engine_stuck": "the engine takes far longer than usual; what else runs on its device?",
    "no_partner": "pairing: latest_ir fuses every visible frame",
}
"""What helps, by the reason why a frame was not fused."""


@dataclass(frozen=True)
class Sources:
    """The parts that the report reads."""

    live: LiveSettings
    events: EventCounter
    output: FrameOutput
    checks: MessageChecks
    intake: FrameIntake
    inputs: CameraTopics
    stages: CurrentStages
    worker: FusionWorker[PairFuser, Decision]
    engine_state: EngineState
    engine_text: Callable[[], Mapping[str, str]]
    latencies: LatencyTopics


class Report:
    """Builds the statuses fusion, ir, vis, engine, registration and messages."""

    def __init__(
        self, node: LifecycleNode, state_label: Callable[[], str], sources: Sources
    ) -> None:
        """Report for `node`, whose lifecycle state `state_label()` returns."""
        self._node = node
        self._state_label = state_label
        self._sources = sources
        self._rates: dict[str, RateMeter] = {}
        self._fused_before = 0
        self._others_before = 0
        self._events_before = 0
        self._active_s = time.monotonic()

    def make(self) -> DiagnosticArray:
        """Return the message."""
        statuses = [
            self._fusion(),
            self._input("ir"),
            self._input("vis"),
            self._engine(),
            registration_status(
                self._sources.live.current.registration.mode, self._sources.stages.stages
            ),
            self._messages(),
        ]
        name = self._node.get_fully_qualified_name().lstrip("/")
        named = [s._replace(name=f"{name}: {s.name}") for s in statuses]
        return make_diagnostics(self._node.get_clock().now().to_msg(), name, named)

    def _rate(self, name: str, count: int) -> float:
        return self._rates.setdefault(name, RateMeter()).rate_hz(time.monotonic(), count)

    def _fusion(self) -> Status:
        sources = self._sources
        outcomes = sources.output.outcomes.counts()
        fused = outcomes.get(FUSED, 0)
        others = sum(outcomes.values()) - fused
        new_fused, new_others = fused - self._fused_before, others - self._others_before
        self._fused_before, self._others_before = fused, others
        idle = not sources.inputs["vis"].is_open
        if new_fused or new_others or idle:
            self._active_s = time.monotonic()
        values = {"fused_hz": f"{self._rate('fused', fused):.1f}"}
        values.update(("frames " + kind, str(count)) for kind, count in sorted(outcomes.items()))
        values["displaced"] = str(sources.worker.mailbox.displaced_count)
        pairing = sources.intake.counters()
        values.update(("pairing " + kind, str(count)) for kind, count in sorted(pairing.items()))
        values.update(sources.latencies.describe())
        enabled = sources.live.current.node.enabled
        values["enabled"] = str(enabled).lower()
        level, message = OK, "fusing"
        if idle:
            message = "idle: nobody subscribes to the fused topics"
            if self._state_label() != "active":
                message = "idle: the node is " + self._state_label()
        elif new_others:
            level = WARN if enabled else OK
            last = sources.output.last_unfused
            message = (
                f"{new_others} of {new_others + new_fused} frames not fused, the last: {last}"
            )
            hint = HINTS.get(last.rpartition(": ")[2])
            message += f"; {hint}" if hint else ""
        elif not new_fused and time.monotonic() - self._active_s > QUIET_S:
            level, message = ERROR, f"no visible frame arrived for {QUIET_S:.0f} s"
        return Status("fusion", level, message, values)

    def _input(self, name: str) -> Status:
        sources = self._sources
        subscription = sources.inputs[name]
        values = subscription.describe()
        values["rate_hz"] = f"{self._rate(name, subscription.received):.1f}"
        size = sources.checks.sizes.get(name)
        values["size"] = "{1}x{0}".format(*size) if size else "unknown"
        level, message = OK, "receiving"
        if not subscription.is_open:
            message = "not subscribed"
        elif name == "ir":
            verdict = sources.intake.judge_now()
            values["reason"] = verdict.reason
            level, message = (OK if verdict.usable else WARN), verdict.text
        silent = sources.inputs.silent.get(name)
        if silent:
            level, message = (WARN if name == "ir" else ERROR), silent
        return Status(name, level, message, values)

    def _engine(self) -> Status:
        worker, state = self._sources.worker, self._sources.engine_state
        level = {READY: OK, FAILED: ERROR}.get(state.state, WARN)
        message = str(state)
        if state.state == READY and worker.mailbox.given_up:
            stuck_s = worker.mailbox.busy_s(time.monotonic())
            level = ERROR
            message = f"at one frame for {stuck_s:.1f} s; the visible image passes meanwhile"
        values = {
            **self._sources.engine_text(),
            "state": state.state,
            "openings": str(worker.openings),
            "failures": str(worker.failures),
            "stalls": str(worker.mailbox.given_up_count),
            "patience_s": f"{worker.mailbox.patience_s:.2f}",
        }
        return Status("engine", level, message, values)

    def _messages(self) -> Status:
        events = self._sources.events
        values = events.describe()
        new = events.total() - self._events_before
        self._events_before += new
        if not values:
            return Status("messages", OK, "no bad message", values)
        kinds = ", ".join(sorted(values))
        message = f"{new} bad since the last report; kinds so far: {kinds}"
        return Status("messages", WARN if new else OK, message, values)
