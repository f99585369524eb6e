"""From camera messages to jobs: soundness, pairing, health, and what then becomes of the frame.

Everything here runs on the executor's thread and costs well under a millisecond, except while the
worker cannot take frames (the engine loads, builds or hangs): then the visible frames are
published from here, unchanged, so that the robot sees at all times. Those that waited behind an
engine that hangs go out first, so what is published stays in the order of arrival.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from irvis_fusion_core.streams import pairing as pairing_module
from irvis_fusion_core.streams.health import HOLD, STOP, Verdict, decide
from irvis_fusion_core.streams.pairing import Pair
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.node.frame_processor import FUSED, OVERRUN, FrameProcessor, IrFrame, Job
from irvis_fusion_ros.node.guard import fault_text
from irvis_fusion_ros.node.worker import READY, FusionWorker
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.pairing_and_health import (
    health_values,
    make_health,
    make_policy,
    policy_values,
    take_limits,
)

FUTURE_NS = 1_000_000_000
"""A stamp this far ahead of the node's clock is wrong, whatever the transport's delay."""

VIS_SILENT_NS = 1_000_000_000
"""Without a visible frame for so long, its last stamp says nothing about the present."""

UNPAIRED = (pairing_module.NO_PARTNER, pairing_module.WAITED, pairing_module.QUEUE_FULL)
"""Why a visible frame stays alone although the thermal camera is well."""

DISABLED = "disabled"
FAULT = "fault"
STUCK = "engine_stuck"


class FrameIntake:
    """Takes the messages of both cameras, and hands every visible frame on exactly once."""

    def __init__(
        self,
        settings: LiveSettings,
        processor: FrameProcessor,
        worker: FusionWorker,
        note: Callable[[str, str], None],
        now: Callable[[], Any],
    ) -> None:
        """Wire it up; `note(kind, text)` is told bad messages, `now()` is the node's clock.

        Raises:
            ConfigurationError: pairing or health parameters that do not go together.
        """
        self.vis_size: tuple[int, int] | None = None
        self.ir_size: tuple[int, int] | None = None
        self.verdict = Verdict(False, "missing", "no thermal frame has arrived")
        self.on_waiting: Callable[[], None] = lambda: None
        """Called when a visible frame waits for its partner: then call `expire` now and then."""
        self._settings = settings
        self._processor = processor
        self._worker = worker
        self._note = note
        self._now = now
        self._past_counts: dict[str, int] = Counter()
        self._vis_number = 0
        self._ir_number = 0
        self._last_stamp_ns: dict[str, int] = {}
        self._vis_arrived_ns = 0
        self._last_usable_ir: tuple[IrFrame, float] | None = None
        self._pairing = make_policy(settings.current)
        self._health = make_health(settings.current)

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Build what differs under `settings`; what is returned puts it to use.

        Until then nothing has changed, and counts go on afterwards. A watch over the thermal
        camera keeps what it has seen, except where the time offset changes.

        Raises:
            ConfigurationError: pairing or health parameters that do not go together.
        """
        before = self._settings.current
        policy, health = None, None
        if policy_values(settings) != policy_values(before):
            policy = make_policy(settings)
        if health_values(settings) != health_values(before):
            health = make_health(settings)
        new_offset = settings.pairing.ir_time_offset_s != before.pairing.ir_time_offset_s

        def put_to_use() -> None:
            if policy is not None:
                self._dispatch(self._pairing.clear("parameters"))
                self._past_counts.update(self._pairing.counters)
                self._pairing = policy
            if health is not None and new_offset:
                self._health = health
            elif health is not None:
                take_limits(self._health, health)

        return put_to_use

    def clear(self, reason: str) -> None:
        """Forget both streams: a clock jump, or the cameras were unsubscribed."""
        self._dispatch(self._pairing.clear(reason))
        self._health.reset()
        self._processor.forget()
        self._last_stamp_ns.clear()
        self._last_usable_ir = None

    def counters(self) -> dict[str, int]:
        """Return pairing's counts since configuration."""
        return dict(Counter(self._past_counts) + Counter(self._pairing.counters))

    def judge_now(self) -> Verdict:
        """Return the thermal camera's present verdict, also while no visible frame comes."""
        stamp_ns = self._last_stamp_ns.get("vis")
        if stamp_ns is None:
            now_ns = self._now().nanoseconds
        else:
            silent_ns = time.monotonic_ns() - self._vis_arrived_ns
            # A dead visible camera's last stamp stands still: the thermal one is not ahead of it.
            now_ns = stamp_ns + (silent_ns if silent_ns > VIS_SILENT_NS else 0)
        self.verdict = self._health.verdict(now_ns)
        return self.verdict

    def expire(self) -> bool:
        """Let go of visible frames whose partner did not come in time; True while some wait."""
        if self._pairing.pending:
            self._dispatch(self._pairing.expire(time.monotonic_ns()))
        return self._pairing.pending > 0

    def relieve(self) -> None:
        """Publish what waits behind an engine that hangs, though no new frame pushes it."""
        if not self._worker.accepts(time.monotonic()):
            self._pass_waiting()

    def add_ir(self, message: Any) -> None:
        """Take a message of the thermal camera."""
        arrived_ns = time.monotonic_ns()
        try:
            # Dead pixels (NaN) are for thermal rescaling to mask; they are told, not refused.
            pixels = image_messages.thermal_frame(message, check_finite=False)
            self._note_not_finite(pixels)
        except image_messages.ImageMessageError as error:
            self._note("ir: " + error.kind, str(error))
            return
        stamp_ns = self._check_stamp("ir", message)
        self.ir_size = self._check_size("ir", self.ir_size, pixels.shape[:2])
        self._health.add_frame(stamp_ns, pixels, arrived_ns)
        self._ir_number += 1
        frame = IrFrame(self._ir_number, stamp_ns, pixels)
        self._dispatch(self._pairing.add_ir(stamp_ns, frame, arrived_ns))
        if self._pairing.pending:
            self.on_waiting()

    def add_vis(self, message: Any) -> None:
        """Take a message of the visible camera."""
        arrived_ns = time.monotonic_ns()
        self._vis_number += 1
        job = Job(self._vis_number, message, 0, arrived_ns)
        try:
            self._pair(job, message)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the image
            self._note(f"fault at a visible frame: {type(error).__name__}", fault_text(error))
            self._processor.pass_through(job, FAULT)

    def _pair(self, job: Job, message: Any) -> None:
        if not self._is_sound(message):
            return
        stamp_ns = self._check_stamp("vis", message)
        if stamp_ns > 0:
            self._vis_arrived_ns = job.arrived_ns
        job = job._replace(stamp_ns=stamp_ns)
        self._dispatch(self._pairing.add_vis(stamp_ns, job, job.arrived_ns))
        if self._pairing.pending:
            self.on_waiting()

    def _is_sound(self, message: Any) -> bool:
        """Whether a visible message may be published at all; notes why not.

        One of an encoding that cannot be read here is sound as a message: downstream may know it.
        """
        if image_messages.is_compressed(message):
            return True  # seen when it is decoded, on the worker
        try:
            image_messages.view(message, check_finite=False)
        except image_messages.ImageMessageError as error:
            self._note("vis: " + error.kind, str(error))
            if error.kind != "unknown_encoding" or not len(message.data):
                self._processor.drop("vis_" + error.kind)
                return False
        self.vis_size = self._check_size("vis", self.vis_size, (message.height, message.width))
        return True

    def _check_size(
        self, stream: str, before: tuple[int, int] | None, size: tuple[int, ...]
    ) -> tuple[int, int]:
        found = (int(size[0]), int(size[1]))
        if before is not None and before != found:
            text = "from {1}x{0} to {3}x{2}".format(*before, *found)
            self._note(stream + ": size changed", text)
        return found

    def _check_stamp(self, stream: str, message: Any) -> int:
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        last_ns = self._last_stamp_ns.get(stream)
        if stamp_ns <= 0:
            self._note(stream + ": zero stamp", "the driver does not stamp its images")
        else:
            ahead_ns = stamp_ns - self._now().nanoseconds
            if ahead_ns > FUTURE_NS:
                text = f"{ahead_ns / 1e9:.3f} s ahead of the node's clock"
                self._note(stream + ": stamp from the future", text)
            if last_ns is not None and stamp_ns < last_ns:
                text = f"by {(last_ns - stamp_ns) / 1e9:.3f} s; a bag that loops does this"
                self._note(stream + ": stamp went back", text)
            self._last_stamp_ns[stream] = stamp_ns
        return int(stamp_ns)

    def _note_not_finite(self, pixels: Any) -> None:
        if pixels.dtype.kind == "f":
            bad = pixels.size - int(np.isfinite(pixels).sum())
            if bad:
                text = f"NaN or infinity in {bad} of {pixels.size} pixels"
                self._note("ir: not_finite", text)

    def _dispatch(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            self._hand_on(self._decide(pair))

    def _decide(self, pair: Pair) -> Job | None:
        """Return the job to do for a visible frame, or None when policy keeps it back."""
        job: Job = pair.vis
        settings = self._settings.current
        if not settings.node.enabled:
            return job._replace(reason=DISABLED)
        self.verdict = self._health.verdict(job.stamp_ns)
        if pair.paired and self.verdict.usable:
            self._last_usable_ir = (pair.ir, time.monotonic())
            return job._replace(ir=pair.ir, skew_s=pair.skew_s)
        # Against a stamp of zero every thermal frame is ahead: that is not the thermal camera's.
        unstamped = pair.reason == pairing_module.ZERO_STAMP
        blame_ir = not self.verdict.usable and not unstamped
        reason = "ir_" + self.verdict.reason if blame_ir else pair.reason
        if self.verdict.usable and pair.reason in UNPAIRED:
            if settings.pairing.on_unpaired == "drop":
                self._processor.drop(reason)
                return None
            return job._replace(reason=reason)
        action = decide(self.verdict._replace(usable=False), settings.ir_loss.on_ir_loss)
        # Without an engine nothing could be fused anyway: the image flows until there is one.
        if action == STOP and self._worker.state == READY:
            self._processor.drop(reason)
            return None
        if action == HOLD and self._last_usable_ir is not None:
            frame, since_s = self._last_usable_ir
            if time.monotonic() - since_s <= settings.ir_loss.hold_s:
                return job._replace(ir=frame)
        return job._replace(reason=reason)

    def _hand_on(self, job: Job | None) -> None:
        if job is None:
            return
        if not self._worker.accepts(time.monotonic()):
            reason = self._pass_waiting()
            self._processor.pass_by(job, reason)
            return
        hold = self._settings.current.ir_loss.on_overrun == "passthrough"
        displaced = self._worker.submit(job, len(job.vis.data), hold)
        if displaced is not None:
            self._processor.overrun(displaced)

    def _pass_waiting(self) -> str:
        """Publish unchanged what the worker cannot take, in order; return the reason."""
        if self._worker.state != READY:
            reason = "engine_" + self._worker.state.replace(" ", "_")
        else:
            reason = OVERRUN if self._worker.mailbox.is_full else STUCK
        for waiting in self._worker.abandon():
            own = waiting.reason
            self._processor.pass_by(waiting, reason if own == FUSED else own)
        return reason
