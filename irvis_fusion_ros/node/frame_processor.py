"""The worker's half of a frame's way: fuse it and publish it, or publish it unchanged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from sensor_msgs.msg import Image

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.node.engine_state import READY, WARMING_UP, EngineState
from irvis_fusion_ros.node.frame_output import FrameOutput
from irvis_fusion_ros.node.mailbox import Delivery
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.events import Note
from irvis_fusion_ros.pipeline.frame_decision import Decision
from irvis_fusion_ros.pipeline.frames import UNCALIBRATED, UNUSABLE_PAIR, IrFrame
from irvis_fusion_ros.pipeline.message_checks import Moment
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser, offer_pair

ENGINE_ERROR = "engine_error"
WARM_UP = "engine_warming_up"

PASSED_BY_MAX = 32
"""IR frames kept for the thermal limits while the engine is away: a second at 30 Hz."""


class FrameProcessor:
    """Handles what the worker takes out of its mailbox; runs on the worker's thread."""

    def __init__(
        self,
        output: FrameOutput,
        stages: CurrentStages,
        engine_state: EngineState,
        on_latencies: Callable[[Mapping[str, float]], None],
        now: Callable[[], Moment],
        note: Note,
    ) -> None:
        """Publish on `output`; `note` is told of pairs that cannot be fused."""
        self._output = output
        self._stages = stages
        self._engine_state = engine_state
        self._on_latencies = on_latencies
        self._now = now
        self._note = note
        # Without their visible frames, which may be large. Only the worker takes out of it.
        self._passed_by: deque[IrFrame] = deque(maxlen=PASSED_BY_MAX)

    def process(self, fuser: PairFuser, delivery: Delivery[Decision]) -> None:
        """Handle a delivery; raises what the engine raises."""
        for displaced in delivery.displaced:
            self._output.overrun(displaced.vis, displaced.reason)
        while self._passed_by:
            self._follow(self._passed_by.popleft())
        for displaced in delivery.displaced:
            self._follow(displaced.ir)
        decision = delivery.job
        if decision.ir is None:
            self._output.pass_through(decision.vis, decision.reason)
            return
        try:
            self._fuse(fuser, decision)
        except (FrameError, ConfigurationError, CalibrationError) as error:
            # The pair does not suit; the engine is healthy and stays open.
            self._note_pair(error)
            self._output.pass_through(decision.vis, UNUSABLE_PAIR)

    def failed(self, delivery: Delivery[Decision], error: Exception) -> None:
        """Publish the frame at which the engine failed, unchanged."""
        self._note("engine: " + type(error).__name__, str(error))
        self._output.pass_through(delivery.job.vis, ENGINE_ERROR)

    def pass_by(self, decision: Decision, reason: str) -> None:
        """Publish what the worker cannot take; the thermal limits see it later."""
        if decision.ir is not None:
            self._passed_by.append(decision.ir)
        self._output.pass_through(decision.vis, reason)

    def overrun(self, decision: Decision) -> None:
        """Pass or drop what a newer decision displaced; the thermal limits see it later."""
        if decision.ir is not None:
            self._passed_by.append(decision.ir)
        self._output.overrun(decision.vis, decision.reason)

    def _fuse(self, fuser: PairFuser, decision: Decision) -> None:
        frame, ir = decision.vis, decision.ir
        if ir is None:
            return
        start_ns = time.monotonic_ns()
        vis, order = image_messages.visible_frame(frame.message, frame.pixels)
        size = (vis.shape[0], vis.shape[1])
        if size not in fuser.warm_sizes:
            self._warm_up(fuser, decision, size)
            return
        read_ns = time.monotonic_ns()
        stages = self._stages.stages
        fused = fuser.fuse(vis, order, ir, stages, frame.stamp_ns)
        if fused is None:
            self._output.pass_through(frame, UNCALIBRATED)
            return
        fused_ns = time.monotonic_ns()
        message = image_messages.fill(Image(), fused.image, frame.message, order)
        write_ns = time.monotonic_ns()
        if not self._output.publish_fused(frame, message, fused.image, order):
            return
        end_ns = time.monotonic_ns()
        times = fused.timings
        latencies = {
            "wait_ms": (start_ns - frame.arrived_ns) / 1e6,
            "read_ms": (read_ns - start_ns) / 1e6,
            "thermal_ms": times.thermal_ms,
            "registration_ms": times.registration_ms,
            "engine_ms": times.engine_ms,
            "write_ms": times.finish_ms + (write_ns - fused_ns) / 1e6,
            "publish_ms": (end_ns - write_ns) / 1e6,
            "node_ms": (end_ns - start_ns) / 1e6 - times.engine_ms,
            "total_ms": (end_ns - frame.arrived_ns) / 1e6,
            "stamp_to_publish_ms": (self._now().nanoseconds - frame.stamp_ns) / 1e6,
        }
        if decision.skew_s is not None:
            latencies["skew_ms"] = 1e3 * decision.skew_s
        self._on_latencies(latencies)
        offer_pair(stages, fused, vis, decision.skew_s)  # after the frame is out

    def _follow(self, ir: IrFrame | None) -> None:
        """Let the thermal limits see an IR frame that was to be fused and was not.

        What is smoothed over time then depends on the frames that came, not on the speed of the
        engine, and a bag replayed later gives the same images.
        """
        if ir is None:
            return
        try:
            self._stages.stages.thermal.follow(ir)
        except (FrameError, ConfigurationError) as error:
            self._note_pair(error)

    def _warm_up(self, fuser: PairFuser, decision: Decision, size: tuple[int, int]) -> None:
        """Let the engine see a new size first: it may build for minutes."""
        self._output.pass_through(decision.vis, WARM_UP)
        self._follow(decision.ir)
        self._engine_state.set(WARMING_UP, "{1}x{0}".format(*size))
        try:
            fuser.warm_up(size)
        finally:
            self._engine_state.set(READY)

    def _note_pair(self, error: Exception) -> None:
        self._note("pair: " + getattr(error, "kind", type(error).__name__), str(error))
