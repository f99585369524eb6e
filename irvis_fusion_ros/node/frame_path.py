"""A visible frame's way through the node: `FramePath.add_vis`, and on the worker `process`.

On the executor's thread a message is checked, decided upon, and put into the worker's mailbox.
That costs well under a millisecond, except while the worker cannot take frames (the engine loads,
builds or hangs): then visible frames are published from there, unchanged. Those that waited behind
a hanging engine go out first, so frames leave in the order of arrival. On the worker's thread what
comes out of the mailbox is fused and published.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.streams.health import Verdict
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_core.thermal.palettes import FalseColour
from irvis_fusion_ros.messages.serialized_image import AnySerializedImage
from irvis_fusion_ros.node.engine_state import READY, WARMING_UP, EngineState
from irvis_fusion_ros.node.frame_output import FrameOutput
from irvis_fusion_ros.node.guard import fault_text
from irvis_fusion_ros.node.overload import Overload
from irvis_fusion_ros.node.worker import Delivery, FusionWorker
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline import frames
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.events import Note
from irvis_fusion_ros.pipeline.frame_decision import Decision, FrameDecider
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED, IrFrame, VisFrame
from irvis_fusion_ros.pipeline.message_checks import MessageChecks
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser, Timings, offer_pair

VIS_SILENT_NS = NS_PER_S
"""Without a visible frame for this long, its last stamp says nothing about the present."""
PASSED_BY_MAX = 32
"""IR frames kept for the thermal limits while the engine is away: a second at 30 Hz."""

OVERRUN = "overrun"
FAULT = "fault"
STUCK = "engine_stuck"
DEACTIVATED = "deactivated"
ENGINE_ERROR = "engine_error"
WARM_UP = "engine_warming_up"


@dataclass(eq=False)
class FramePath:
    """Takes the messages of both cameras, and lets every visible frame out exactly once.

    Attributes:
        output: Publishes frames and counts what became of them.
        open_engine: Returns the engine; called on the worker's thread.
        note: Is told of faults, and of pairs that cannot be fused.
        now_ns: Reads the clock of the stamps.
        on_latencies: Takes what the steps of a fused frame took; on the worker's thread.
        on_waiting: Is called when a visible frame waits for its partner: then call `expire` now
            and then.
        worker: Owns the engine; `start` and `stop` it.

    Raises:
        ConfigurationError: Pairing or health parameters that do not go together.
    """

    live: LiveSettings
    checks: MessageChecks
    output: FrameOutput
    overload: Overload
    stages: CurrentStages
    engine_state: EngineState
    open_engine: Callable[[], PairFuser]
    note: Note
    now_ns: Callable[[], int]
    on_latencies: Callable[[Mapping[str, float]], None]
    on_waiting: Callable[[], None]

    def __post_init__(self) -> None:
        engine = self.live.current.engine
        self.worker: FusionWorker[PairFuser, Decision] = FusionWorker(
            self.engine_state,
            self.open_engine,
            self.process,
            self.failed,
            engine.engine_retry_s,
            engine.engine_stall_s,
            runs_engine=lambda decision: decision.ir is not None,
        )
        self._vis_arrived_ns = 0
        self._decider: FrameDecider[VisFrame] = FrameDecider(
            self.live.current, engine_ready=lambda: self.engine_state.state == READY
        )
        # Without their visible frames, which may be large. Only the worker takes out of it.
        self._passed_by: deque[IrFrame] = deque(maxlen=PASSED_BY_MAX)

    # --- on the executor's thread

    def add_vis(
        self,
        message: AnySerializedImage,
        unpacked: np.ndarray | None = None,
        arrived_ns: int | None = None,
    ) -> None:
        """Take a message of the visible camera.

        A compressed one comes through `DecodeThread`, with its pixels and its time of arrival.
        It is checked and viewed once, decided upon, and put into the worker's mailbox. `process`
        fuses it on the worker's thread, and `FrameOutput` lets it out. What is not to be fused
        goes the same way, so nothing overtakes.
        """
        now_ns = time.monotonic_ns()
        arrived_ns = now_ns if arrived_ns is None else arrived_ns
        frame = VisFrame(self.output.arrived(), message, unpacked, 0, arrived_ns)
        try:
            frame, refused = self.checks.vis(frame)
            if refused is not None:
                self.output.drop("vis_" + refused, frame.number)
                return
            if frame.stamp_ns > 0:
                self._vis_arrived_ns = now_ns
            decisions = self._decider.add_vis(frame.stamp_ns, frame, now_ns)
            if not decisions:
                self.on_waiting()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the image
            self._pass_at_fault(frame, error)
        else:
            self._hand_on(decisions)

    def add_ir(self, message: AnySerializedImage, unpacked: FalseColour | None = None) -> None:
        """Take a message of the thermal camera, which is there for pairing from now on."""
        now_ns = time.monotonic_ns()
        try:
            frame = self.checks.ir(message, unpacked)
            if frame is not None:
                self._hand_on(self._decider.add_ir(frame, now_ns))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the node
            self.note(f"fault in an infrared message: {type(error).__name__}", fault_text(error))

    def expire(self) -> bool:
        """Let go of visible frames whose partner did not come in time; True while some wait."""
        if self._decider.pending:
            self._hand_on(self._decider.expire(time.monotonic_ns()))
        return self._decider.pending > 0

    def relieve(self) -> None:
        """Publish what waits behind an engine that hangs, though no new frame pushes it."""
        if not self._worker_accepts():
            self._pass_waiting()

    def finish(self, reason: str) -> None:
        """Publish unchanged whatever the worker has not finished: publishing ends after this."""
        for waiting in self.worker.mailbox.give_back():
            self.pass_by(waiting, reason)

    def clear(self, cause: str) -> None:
        """Forget both streams: a clock jump, or the cameras were unsubscribed."""
        self._hand_on(self._decider.clear(cause, time.monotonic_ns()))
        self.checks.forget_stamps()
        self.overload.end()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Build what other parameters change; call the result to put it to use.

        Raises:
            ConfigurationError: Pairing or health parameters that do not go together.
        """
        put_to_use = self._decider.prepare(settings)
        return lambda: self._hand_on(put_to_use(time.monotonic_ns()))

    def counters(self) -> dict[str, int]:
        """Return the counts of pairing since configuration."""
        return self._decider.counters()

    def judge_now(self) -> Verdict:
        """Return the verdict on the thermal camera now, also while no visible frame comes."""
        now_ns = time.monotonic_ns()
        stamp_ns = self.checks.last_stamp_ns.get("vis")
        if stamp_ns is None:
            return self._decider.judge(self.now_ns(), now_ns)
        silent_ns = now_ns - self._vis_arrived_ns
        # The last stamp of a dead visible camera stands still: the thermal one is not ahead of it.
        stamp_ns += silent_ns if silent_ns > VIS_SILENT_NS else 0
        return self._decider.judge(stamp_ns, now_ns)

    def _hand_on(self, decisions: list[Decision]) -> None:
        """Give each frame to the worker, or out; a fault at one does not cost the next."""
        for decision in decisions:
            try:
                if decision.action == DROPPED:
                    self.output.drop(decision.reason, decision.vis.number)
                elif not self._worker_accepts():
                    self.pass_by(decision, self._pass_waiting())
                else:
                    drops, size_bytes = self.overload.drops, decision.vis.size_bytes
                    displaced = self.worker.mailbox.put(decision, size_bytes, not drops)
                    self.overload.count(displaced is not None and displaced.ir is not None)
                    if displaced is not None and drops:
                        self.drop(displaced)
            except Exception as error:  # noqa: BLE001 - as in add_vis
                self._pass_at_fault(decision.vis, error)

    def pass_by(self, decision: Decision, reason: str) -> None:
        """Publish what the worker cannot take; the thermal limits see it later."""
        if decision.ir is not None:
            self._passed_by.append(decision.ir)
        self.output.pass_through(decision.vis, reason)

    def drop(self, decision: Decision) -> None:
        """Drop what a newer decision displaced; the thermal limits see it later."""
        if decision.ir is not None:
            self._passed_by.append(decision.ir)
        self.output.drop(OVERRUN, decision.vis.number)

    def _pass_at_fault(self, frame: VisFrame, error: Exception) -> None:
        self.note(f"fault at a visible frame: {type(error).__name__}", fault_text(error))
        self.output.pass_through(frame, FAULT)

    def _worker_accepts(self) -> bool:
        """Return whether a frame put now is looked at soon: engine ready and not stuck."""
        return self.engine_state.state == READY and self.worker.mailbox.accepts(time.monotonic())

    def _pass_waiting(self) -> str:
        """Publish unchanged what the worker cannot take, in order; return the reason."""
        self.overload.end()  # no fused frames come: the visible ones are all that is left
        if self.engine_state.state != READY:
            reason = "engine_" + self.engine_state.state.replace(" ", "_")
        else:
            reason = OVERRUN if self.worker.mailbox.is_full else STUCK
        for waiting in self.worker.mailbox.give_back():
            own = waiting.reason
            self.pass_by(waiting, reason if own == FUSED else own)
        return reason

    # --- on the worker's thread

    def process(self, fuser: PairFuser, delivery: Delivery[Decision]) -> None:
        """Fuse a frame and let it out, after those that it displaced.

        Raises:
            EngineError: The engine failed; or whatever it raises.
        """
        for displaced in delivery.displaced:
            self._pass_displaced(displaced)
        while self._passed_by:
            self._follow(self._passed_by.popleft())
        for displaced in delivery.displaced:
            self._follow(displaced.ir)
        decision: Decision = delivery.job
        frame: VisFrame = decision.vis
        if decision.ir is None:
            self.output.pass_through(frame, decision.reason)
            return
        try:
            if fuser.needs_warm_up(frame):
                self._warm_up(fuser, decision)
                return
            start_ns, stages = time.monotonic_ns(), self.stages.stages
            fused = fuser.fuse(frame, decision.ir, stages)
            fused_ns = time.monotonic_ns()
            if fused is None:
                self.output.pass_through(frame, frames.UNCALIBRATED)
            elif self.output.let_out(frame, FUSED, fused):
                self._tell_latencies(decision, fused.timings, start_ns, fused_ns)
                offer_pair(stages, fused, decision.skew_s)
        except (FrameError, ConfigurationError, CalibrationError) as error:
            # The pair does not suit; the engine is healthy and stays open.
            self._note_pair(error)
            self.output.pass_through(frame, frames.UNUSABLE_PAIR)

    def failed(self, delivery: Delivery[Decision], error: BaseException) -> None:
        """Publish the frame at which the engine failed, unchanged."""
        self.overload.end()
        self.note("engine: " + type(error).__name__, str(error))
        for displaced in delivery.displaced:  # those that are out already are passed over
            self._pass_displaced(displaced)
        self.output.pass_through(delivery.job.vis, ENGINE_ERROR)

    def _pass_displaced(self, decision: Decision) -> None:
        reason = OVERRUN if decision.reason == FUSED else decision.reason
        self.output.pass_through(decision.vis, reason)

    def _tell_latencies(
        self, decision: Decision, times: Timings, start_ns: int, fused_ns: int
    ) -> None:
        frame, end_ns = decision.vis, time.monotonic_ns()
        latencies = {
            "wait_ms": (start_ns - frame.arrived_ns) / 1e6,
            **times._asdict(),
            "publish_ms": (end_ns - fused_ns) / 1e6,
            "node_ms": (end_ns - start_ns) / 1e6 - times.engine_ms,
            "total_ms": (end_ns - frame.arrived_ns) / 1e6,
            "stamp_to_publish_ms": (self.now_ns() - frame.stamp_ns) / 1e6,
        }
        if decision.skew_s is not None:
            latencies["skew_ms"] = 1e3 * decision.skew_s
        self.on_latencies(latencies)

    def _follow(self, ir: IrFrame | None) -> None:
        """Let the thermal limits see an IR frame that was to be fused and was not.

        What is smoothed over time then depends on the frames that came, not on the speed of the
        engine, and a bag replayed later gives the same images.
        """
        if ir is None:
            return
        try:
            self.stages.stages.thermal.follow(ir)
        except (FrameError, ConfigurationError) as error:
            self._note_pair(error)

    def _warm_up(self, fuser: PairFuser, decision: Decision) -> None:
        """Let the engine see a new size first: it may build for minutes."""
        size = decision.vis.size
        self.output.pass_through(decision.vis, WARM_UP)
        self._follow(decision.ir)
        self.engine_state.set(WARMING_UP, "{1}x{0}".format(*size))
        try:
            fuser.warm_up(size)
        finally:
            self.engine_state.set(READY)

    def _note_pair(self, error: Exception) -> None:
        self.note("pair: " + getattr(error, "kind", type(error).__name__), str(error))
