"""The executor's half of a frame's way: check the message, decide, hand the frame to the worker.

All of it runs on the executor's thread and costs well under a millisecond, except while the worker
cannot take frames (the engine loads, builds or hangs): then visible frames are published from
here, unchanged. Those that waited behind a hanging engine go out first, so frames leave in the
order of arrival.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from irvis_fusion_core.streams.health import Verdict
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.messages.protocols import AnyImageMessage
from irvis_fusion_ros.node.engine_state import READY, EngineState
from irvis_fusion_ros.node.frame_output import OVERRUN, FrameOutput
from irvis_fusion_ros.node.frame_processor import FrameProcessor
from irvis_fusion_ros.node.guard import fault_text
from irvis_fusion_ros.node.mailbox import Mailbox
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.events import Note
from irvis_fusion_ros.pipeline.frame_decision import Decision, FrameDecider
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED, VisFrame
from irvis_fusion_ros.pipeline.message_checks import MessageChecks, Moment

VIS_SILENT_NS = NS_PER_S
"""Without a visible frame for this long, its last stamp says nothing about the present."""

FAULT = "fault"
STUCK = "engine_stuck"


class FrameIntake:
    """Takes the messages of both cameras, and hands every visible frame on exactly once."""

    def __init__(
        self,
        live: LiveSettings,
        checks: MessageChecks,
        engine_state: EngineState,
        mailbox: Mailbox[Decision],
        processor: FrameProcessor,
        output: FrameOutput,
        note: Note,
        now: Callable[[], Moment],
        on_waiting: Callable[[], None],
    ) -> None:
        """Wire it up.

        Args:
            live: The parameters.
            checks: Turns messages into frames.
            engine_state: Frames go to the worker while it is READY.
            mailbox: The worker's.
            processor: Publishes what the worker cannot take.
            output: Counts what is dropped.
            note: Is told of faults.
            now: Reads the node's clock.
            on_waiting: Called when a visible frame waits for its partner: then call `expire` now
                and then.

        Raises:
            ConfigurationError: Pairing or health parameters that do not go together.
        """
        self._live = live
        self._checks = checks
        self._engine_state = engine_state
        self._mailbox = mailbox
        self._processor = processor
        self._output = output
        self._note = note
        self._now = now
        self._on_waiting = on_waiting
        self._vis_number = 0
        self._vis_arrived_ns = 0
        self._decider: FrameDecider[VisFrame] = FrameDecider(
            live.current, engine_ready=lambda: engine_state.state == READY
        )

    def add_vis(self, message: AnyImageMessage) -> None:
        """Take a message of the visible camera.

        It is checked and viewed once, decided upon, and put into the worker's mailbox.
        `FrameProcessor.process` fuses it on the worker's thread, and `FrameOutput` lets it out.
        What is not to be fused goes the same way, so nothing overtakes.
        """
        self._vis_number += 1
        frame = VisFrame(self._vis_number, message, None, 0, time.monotonic_ns())
        try:
            frame, refused = self._checks.vis(frame)
            if refused is not None:
                self._output.drop("vis_" + refused)
                return
            if frame.stamp_ns > 0:
                self._vis_arrived_ns = frame.arrived_ns
            decisions = self._decider.add_vis(frame.stamp_ns, frame, frame.arrived_ns)
            if not decisions:
                self._on_waiting()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the image
            self._pass_at_fault(frame, error)
        else:
            self._hand_on(decisions)

    def add_ir(self, message: AnyImageMessage) -> None:
        """Take a message of the thermal camera."""
        try:
            arrived_ns = time.monotonic_ns()
            frame = self._checks.ir(message)
            if frame is not None:
                self._hand_on(self._decider.add_ir(frame, arrived_ns))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the node
            self._note(f"fault in an infrared message: {type(error).__name__}", fault_text(error))

    def expire(self) -> bool:
        """Let go of visible frames whose partner did not come in time; True while some wait."""
        if self._decider.pending:
            self._hand_on(self._decider.expire(time.monotonic_ns()))
        return self._decider.pending > 0

    def relieve(self) -> None:
        """Publish what waits behind an engine that hangs, though no new frame pushes it."""
        if not self._worker_accepts():
            self._pass_waiting()

    def clear(self, cause: str) -> None:
        """Forget both streams: a clock jump, or the cameras were unsubscribed."""
        self._hand_on(self._decider.clear(cause, time.monotonic_ns()))
        self._checks.forget_stamps()

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
        stamp_ns = self._checks.last_stamp_ns.get("vis")
        if stamp_ns is None:
            return self._decider.judge(self._now().nanoseconds, now_ns)
        silent_ns = now_ns - self._vis_arrived_ns
        # The last stamp of a dead visible camera stands still: the thermal one is not ahead of it.
        stamp_ns += silent_ns if silent_ns > VIS_SILENT_NS else 0
        return self._decider.judge(stamp_ns, now_ns)

    def _hand_on(self, decisions: list[Decision]) -> None:
        """Give each frame to the worker, or out; a fault at one does not cost the next."""
        hold = self._live.current.ir_loss.on_overrun == "passthrough"
        for decision in decisions:
            try:
                if decision.action == DROPPED:
                    self._output.drop(decision.reason)
                elif not self._worker_accepts():
                    self._processor.pass_by(decision, self._pass_waiting())
                else:
                    size_bytes = len(decision.vis.message.data)
                    displaced = self._mailbox.put(decision, size_bytes, hold)
                    if displaced is not None:
                        self._processor.overrun(displaced)
            except Exception as error:  # noqa: BLE001 - as in add_vis
                self._pass_at_fault(decision.vis, error)

    def _pass_at_fault(self, frame: VisFrame, error: Exception) -> None:
        self._note(f"fault at a visible frame: {type(error).__name__}", fault_text(error))
        self._output.pass_through(frame, FAULT)

    def _worker_accepts(self) -> bool:
        """Return whether a frame put now is looked at soon: engine ready and not stuck."""
        return self._engine_state.state == READY and self._mailbox.accepts(time.monotonic())

    def _pass_waiting(self) -> str:
        """Publish unchanged what the worker cannot take, in order; return the reason."""
        if self._engine_state.state != READY:
            reason = "engine_" + self._engine_state.state.replace(" ", "_")
        else:
            reason = OVERRUN if self._mailbox.is_full else STUCK
        for waiting in self._mailbox.give_back():
            own = waiting.reason
            self._processor.pass_by(waiting, reason if own == FUSED else own)
        return reason
