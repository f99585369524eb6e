"""What /diagnostics says, gathered from the parts of the node once a second.

Levels: OK while every visible frame is fused, WARN while visible frames go out unchanged or input
is bad, ERROR while an image is missing altogether (no visible input, no engine).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from irvis_fusion_core.streams.health import MISSING
from irvis_fusion_ros.node import decode_thread, overload
from irvis_fusion_ros.node.engine_state import FAILED, READY
from irvis_fusion_ros.node.topics.qos import LOST_ADVICE
from irvis_fusion_ros.pipeline.frames import FUSED
from irvis_fusion_ros.pipeline.pair_fuser import Stages

if TYPE_CHECKING:
    from irvis_fusion_ros.node.configured import Configured
    from irvis_fusion_ros.node.fusion_node import FusionNode

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR

QUIET_S = 2.0
"""Without a visible frame for this long, the report is an error."""

HINTS = {
    "overrun": "the engine is slower than the camera: " + overload.ADVICE,
    "engine_stuck": "the engine takes far longer than usual; what else runs on its device?",
    "vis_too_large": "raise max_pixels, or let the camera send smaller ones",
    "vis_decode_overrun": decode_thread.ADVICE,
    "vis_decode_too_long": decode_thread.ADVICE,
    "no_partner": "pairing: latest_ir fuses every visible frame",
}
"""What helps, by the reason why a frame was not fused."""


class Status(NamedTuple):
    """One line of /diagnostics before it becomes a message."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, str]


def registration_status(mode: str, stages: Stages, changes: int = 0) -> Status:
    """Return the status `registration`; `mode` is the one that the parameters ask for."""
    registration, problem = stages.registration, stages.problem
    values = {"asked_for": mode, "changes": str(changes)}
    if registration is not None:
        values.update((key, str(value)) for key, value in registration.describe().items())
    if problem:
        used = "passing the visible image" if registration is None else values["mode"]
        return Status("registration", WARN, f"using the fallback ({used}): {problem}", values)
    if "failure" in values:
        what = "online alignment" if values["mode"] == "online" else values["mode"]
        return Status("registration", WARN, f"{what}: {values['failure']}", values)
    if "confident_cells" in values:
        message = (
            f"learned over {values['base']}: {values['displacement_median_px']} px (median), "
            f"{values['displacement_p95_px']} px (95 %), confident in "
            f"{values['confident_cells']} of the image"
        )
        return Status("registration", OK, message, values)
    if "state" in values:
        message = f"online: {values['state']}"
        if "correction_px" in values:
            message += f", correction {values['correction_px']} px"
        if "why_not_followed" in values:
            message += "; " + values["why_not_followed"]
        return Status("registration", OK, message, values)
    return Status("registration", OK, values["mode"], values)


def make_diagnostics(stamp: Time, hardware_id: str, statuses: list[Status]) -> DiagnosticArray:
    """Return the message for `statuses`."""
    array = DiagnosticArray()
    array.header.stamp = stamp
    for name, level, message, values in statuses:
        pairs = [KeyValue(key=k, value=str(v)) for k, v in values.items()]
        array.status.append(
            DiagnosticStatus(
                name=name, level=level, message=message, hardware_id=hardware_id, values=pairs
            )
        )
    return array


@dataclass(eq=False)
class Report:
    """Builds the statuses fusion, ir, vis, output, engine, registration and messages."""

    node: FusionNode
    parts: Configured

    def __post_init__(self) -> None:
        self._before: Counter[str] = Counter()  # counts of the last report
        self._output_before = ""
        self._made_s, self._active_s = -math.inf, time.monotonic()

    def make(self) -> DiagnosticArray:
        """Return the message."""
        now_s = time.monotonic()
        self._seconds, self._made_s = (now_s - self._made_s) or math.inf, now_s
        output = Status(*self.parts.output_report.status())
        if output.level != OK and output.message != self._output_before:
            self.node.get_logger().warning("output: " + output.message)
        self._output_before = output.message
        statuses = [
            self._fusion(),
            self._input("ir"),
            self._input("vis"),
            output,
            self._engine(),
            registration_status(
                self.node.live.current.registration.mode,
                self.parts.stages.stages,
                self.parts.stages.changes,
            ),
            self._messages(),
        ]
        name = self.node.get_fully_qualified_name().lstrip("/")
        named = [s._replace(name=f"{name}: {s.name}") for s in statuses]
        return make_diagnostics(self.node.get_clock().now().to_msg(), name, named)

    def _new(self, name: str, count: int) -> int:
        """Return how much a count has grown since the last report."""
        before, self._before[name] = self._before[name], count
        return count - before

    def _fusion(self) -> Status:
        parts = self.parts
        outcomes = parts.output.outcomes.counts()
        fused = outcomes.get(FUSED, 0)
        others = sum(outcomes.values()) - fused
        new_fused, new_others = self._new("fused", fused), self._new("others", others)
        idle = not parts.inputs["vis"].is_open
        if new_fused or new_others or idle:
            self._active_s = time.monotonic()
        values = {"fused_hz": f"{new_fused / self._seconds:.1f}"}
        values.update(("frames " + kind, str(count)) for kind, count in sorted(outcomes.items()))
        vis = parts.inputs["vis"]
        losses = vis.losses()
        # Published by the camera = fused + passed + dropped + lost + on their way.
        values["published"] = str(vis.received + sum(losses.values()))
        values["on their way"] = str(vis.received - fused - others)
        values.update((f"lost: {cause}", str(n)) for cause, n in losses.items())
        values["late results"] = str(parts.output.late_results)
        values["displaced"] = str(parts.path.worker.mailbox.displaced_count)
        values["overload"] = "only fused frames" if parts.overload.only_fused else "no"
        pairing = parts.path.counters()
        values.update(("pairing " + kind, str(count)) for kind, count in sorted(pairing.items()))
        values.update(parts.latencies.describe())
        enabled = self.node.live.current.node.enabled
        values["enabled"] = str(enabled).lower()
        level, message = OK, "fusing"
        if idle:
            message = "idle: nobody subscribes to the fused topics"
            if parts.output_report.unserved:
                level, message = WARN, "idle: no subscriber of the fused topics can be served"
                message += "; " + "; ".join(parts.output_report.unserved)
            if self.node.state_label != "active":
                message = "idle: the node is " + self.node.state_label
        elif new_others:
            level = WARN if enabled else OK
            last = parts.output.last_unfused
            message = f"{new_others} of {new_others + new_fused} frames not fused"
            hint = HINTS.get(last.rpartition(": ")[2])
            message += f", the last: {last}" + (f"; {hint}" if hint else "")
            if parts.overload.only_fused:
                message = "overload, only fused frames are published: " + message
        elif not new_fused and time.monotonic() - self._active_s > QUIET_S:
            level, message = ERROR, f"no visible frame arrived for {QUIET_S:.0f} s"
        return Status("fusion", level, message, values)

    def _input(self, name: str) -> Status:
        parts = self.parts
        subscription = parts.inputs[name]
        values = subscription.describe()
        values["rate_hz"] = f"{self._new(name, subscription.received) / self._seconds:.1f}"
        size = parts.checks.sizes.get(name)
        values["size"] = "{1}x{0}".format(*size) if size else "unknown"
        level, message = OK, "receiving"
        new_lost = self._new("lost " + name, subscription.losses()["reader queue"])
        if not subscription.is_open:
            message = "not subscribed"
        elif name == "ir":
            verdict = parts.path.judge_now()
            values["reason"] = verdict.reason
            # A camera that has just been subscribed to may be late; below it is called silent.
            fine = verdict.usable or (verdict.reason == MISSING and not subscription.received)
            level, message = (OK if fine else WARN), verdict.text
        if new_lost > 0 and level == OK:  # less where the middleware tells later that it lost them
            advice = LOST_ADVICE.format(name)
            level, message = WARN, f"{new_lost} messages lost: reader queue; {advice}"
        silent = parts.inputs.silent.get(name)
        if silent:
            level, message = (WARN if name == "ir" else ERROR), silent
        return Status(name, level, message, values)

    def _engine(self) -> Status:
        worker, state = self.parts.path.worker, self.parts.engine_state
        level = {READY: OK, FAILED: ERROR}.get(state.state, WARN)
        message = str(state)
        if state.state == FAILED:
            wait_s = max(0.0, worker.retry_at_s - time.monotonic())
            message += f"; opened again in {wait_s:.0f} s (retry {worker.retries})"
        if state.state == READY and worker.mailbox.given_up:
            stuck_s = worker.mailbox.busy_s(time.monotonic())
            level = ERROR
            message = f"at one frame for {stuck_s:.1f} s; the visible image passes meanwhile"
        values = {
            **self.parts.engine_text,
            "state": state.state,
            "openings": str(worker.openings),
            "failures": str(worker.failures),
            "retries": str(worker.retries),
            "stalls": str(worker.mailbox.given_up_count),
            "patience_s": f"{worker.mailbox.patience_s:.2f}",
        }
        return Status("engine", level, message, values)

    def _messages(self) -> Status:
        events = self.node.events
        values = events.describe()
        new = self._new("events", events.total())
        if not values:
            return Status("messages", OK, "no bad message", values)
        kinds = ", ".join(sorted(values))
        message = f"{new} bad since the last report; kinds so far: {kinds}"
        return Status("messages", WARN if new else OK, message, values)
