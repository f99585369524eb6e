"""What happens to one visible frame: fused on the worker's thread, or published unchanged.

Every visible frame has a number, in order of arrival. It leaves once, as a fused image or as it
came, and never after a later one, whichever thread publishes it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.registration import fill_uncovered
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.node.reports.diagnostics import EventCounter, Status, registration_status
from irvis_fusion_ros.node.worker import READY, WARMING_UP, Delivery, InOrder
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.stages import Stages

FUSED = "fused"
"""The outcome of a frame that was fused; all other outcomes name why it was not."""

OVERRUN = "overrun"
ENGINE_ERROR = "engine_error"
UNUSABLE_PAIR = "unusable_pair"
WARM_UP = "engine_warming_up"
UNCALIBRATED = "uncalibrated"

NS_PER_S = 1_000_000_000

PASSED_BY_MAX = 32
"""IR frames kept for the thermal limits while the engine is away: a second at 30 Hz."""

_LARGEST_SKEW_S = 0.05
"""Images further apart in time differ by what moved, and say nothing of the cameras."""


class IrFrame(NamedTuple):
    """A thermal frame as it came: HxW uint8, uint16 or float32; its place in the stream."""

    number: int
    stamp_ns: int
    pixels: np.ndarray


class Job(NamedTuple):
    """One visible frame on its way; `ir` None or a `reason` other than FUSED: pass it through."""

    number: int
    vis: Any
    stamp_ns: int
    arrived_ns: int
    ir: IrFrame | None = None
    skew_s: float | None = None
    reason: str = FUSED


class Outputs:
    """The fused topics. Used from both threads, one at a time (the gate's lock)."""

    def __init__(
        self,
        image: Any,
        info: Any,
        compressed: Any | None,
        settings: LiveSettings,
    ) -> None:
        """Take the publishers; `compressed` is None when it is not wanted."""
        self.image = image
        self.info = info
        self.compressed = compressed
        self.camera_info: Any | None = None
        self._settings = settings

    def wanted(self) -> bool:
        """Whether anybody subscribes to any of the topics."""
        publishers = (self.image, self.info, self.compressed)
        return any(p is not None and p.get_subscription_count() > 0 for p in publishers)

    def publish_unchanged(self, vis: Any) -> None:
        """Publish the visible image; see `image_messages.passed_image`."""
        message = image_messages.passed_image(vis, Image())  # refuses before anything is out
        self.image.publish(message)
        # Before what may be refused: an encoding unknown here has its calibration, too.
        self._publish_info(vis.header)
        if self.compressed is None or self.compressed.get_subscription_count() == 0:
            return
        if image_messages.is_compressed(vis):
            self.compressed.publish(vis)
        else:
            self._publish_compressed(*image_messages.visible_frame(vis), vis)

    def publish_fused(self, message: Any, fused: np.ndarray, order: str, vis: Any) -> None:
        """Publish the fused `message`; `fused` (of `order`) is what it was made of."""
        self.image.publish(message)
        self._publish_info(vis.header)
        if self.compressed is not None and self.compressed.get_subscription_count() > 0:
            self._publish_compressed(fused, order, vis)

    def _publish_compressed(self, pixels: np.ndarray, order: str, vis: Any) -> None:
        if self.compressed is not None:
            quality = self._settings.current.topics.jpeg_quality
            self.compressed.publish(
                image_messages.encode(CompressedImage(), pixels, vis, order, quality=quality)
            )

    def _publish_info(self, header: Any) -> None:
        info = self.camera_info
        if info is not None:
            info.header = header
            self.info.publish(info)


class FrameProcessor:
    """Fuses what the worker takes out of its mailbox, and publishes it or the visible frame."""

    def __init__(
        self,
        outputs: Outputs,
        settings: LiveSettings,
        on_latencies: Callable[[dict[str, float]], None],
        node_clock_ns: Callable[[], int],
        on_event: Callable[[str, str], None],
        calibrations: Any | None = None,
    ) -> None:
        """Wire it up. `on_event(kind, text)` is told each image that could not be used.

        `calibrations` (CameraCalibrations) knows the cameras, and is told when parameters have
        changed. A calibration that cannot be used leaves the visible image, or what
        `registration.fallback` names, and says so in `registration_status`.

        Raises:
            ConfigurationError: the thermal or registration parameters do not go together.
        """
        self.outcomes = EventCounter()
        self.last_unfused = ""
        self.set_state: Callable[[str, str], None] = lambda state, reason: None
        self._outputs = outputs
        self._settings = settings
        self._on_latencies = on_latencies
        self._node_clock_ns = node_clock_ns
        self._on_event = on_event
        self._gate = InOrder()
        self._current = CurrentStages(settings, calibrations)
        self._warm_sizes: list[tuple[int, int]] = []
        self._ir_cache: tuple[Any, Any] = (None, None)
        self._grey_cache: tuple[Any, Any] = (None, None)
        self._flicker = FlickerLimiter()
        self._passed_by: deque[Job] = deque(maxlen=PASSED_BY_MAX)

    def renew_stages(self) -> None:
        """Build what the parameters have changed anew; raises as `CurrentStages.renew`."""
        self._current.renew()

    def registration_status(self) -> Status:
        """Return what /diagnostics says of the registration."""
        stages = self._current.stages
        return registration_status(
            self._settings.current.registration.mode, stages.registration, stages.problem
        )

    def process(self, engine: Any, delivery: Delivery) -> None:
        """Handle a delivery on the worker's thread; raises what the engine raises."""
        for displaced in delivery.displaced:
            self.overrun(displaced)
        while self._passed_by:
            self._follow(self._passed_by.popleft())
        for displaced in delivery.displaced:
            self._follow(displaced)
        job = delivery.job
        if job.ir is None or job.reason != FUSED:
            self.pass_through(job, job.reason)
            return
        try:
            self._fuse(engine, job)
        except (FrameError, ConfigurationError, CalibrationError) as error:
            # The pair does not suit; the engine is well and stays open.
            kind = getattr(error, "kind", type(error).__name__)
            self._on_event("pair: " + kind, str(error))
            self.pass_through(job, UNUSABLE_PAIR)

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """Publish the frame at which the engine failed, unchanged."""
        self._on_event("engine: " + type(error).__name__, str(error))
        self.pass_through(delivery.job, ENGINE_ERROR)

    def overrun(self, job: Job) -> None:
        """Pass or drop a frame that a newer one displaced."""
        if self._settings.current.ir_loss.on_overrun == "passthrough":
            self.pass_through(job, job.reason if job.reason != FUSED else OVERRUN)
        else:
            self._count("dropped: " + OVERRUN)

    def drop(self, reason: str) -> None:
        """Count a visible frame that policy keeps back."""
        self._count("dropped: " + reason)

    def pass_through(self, job: Job, reason: str) -> None:
        """Publish the visible frame of `job` unchanged, unless it or a later one is out."""
        try:
            published = self._gate.run(
                job.number, lambda: self._outputs.publish_unchanged(job.vis)
            )
        except image_messages.ImageMessageError as error:
            self._on_event("vis: " + error.kind, str(error))
            self._count("dropped: " + error.kind)
            return
        if published:
            self._count("passed: " + reason)

    def pass_by(self, job: Job, reason: str) -> None:
        """Publish what the worker cannot take; it sees the IR frame once it works again."""
        self._passed_by.append(job)
        self.pass_through(job, reason)

    def forget(self) -> None:
        """Forget the frames seen last (a clock jump)."""
        self._flicker.reset()
        self._passed_by.clear()
        self._ir_cache = self._grey_cache = (None, None)

    def _count(self, outcome: str) -> None:
        if outcome != FUSED:
            self.last_unfused = outcome
        self.outcomes.add(outcome)

    def _fuse(self, engine: Any, job: Job) -> None:
        start_ns = time.monotonic_ns()
        vis, order = image_messages.visible_frame(job.vis)
        size = (vis.shape[0], vis.shape[1])
        if size not in self._warm_sizes:
            self._warm_up(engine, job, size)
            return
        stages = self._current.stages
        if stages.registration is None:
            self.pass_through(job, UNCALIBRATED)
            return
        read_ns = time.monotonic_ns()
        (ir, coverage, grey), thermal_ms, registration_ms = self._prepare_ir(stages, job.ir, size)
        if coverage is not None:
            code = cv2.COLOR_RGB2GRAY if order == "rgb" else cv2.COLOR_BGR2GRAY
            ir = fill_uncovered(ir, cv2.cvtColor(vis, code), coverage)
        engine_from_ns = time.monotonic_ns()
        fused = engine.fuse_frame(ir, vis, order=order)
        engine_to_ns = time.monotonic_ns()
        if self._settings.current.engine.limit_flicker:
            self._flicker.limit(fused, ir, vis, job.stamp_ns / NS_PER_S, order)
        if coverage is not None:  # beyond the thermal image the visible one stands exactly
            cv2.copyTo(vis, cv2.compare(coverage, 0, cv2.CMP_EQ), fused)
        message = image_messages.fill(Image(), fused, job.vis, order)
        write_ns = time.monotonic_ns()
        published = self._gate.run(
            job.number,
            lambda: self._outputs.publish_fused(message, fused, order, job.vis),
        )
        end_ns = time.monotonic_ns()
        if not published:
            self._count("dropped: late")  # its visible frame went out while the engine was stuck
            return
        self._count(FUSED)
        engine_ms = _ms(engine_to_ns - engine_from_ns)
        latencies = {
            "wait_ms": _ms(start_ns - job.arrived_ns),
            "read_ms": _ms(read_ns - start_ns),
            "thermal_ms": thermal_ms,
            "registration_ms": registration_ms,
            "engine_ms": engine_ms,
            "write_ms": _ms(write_ns - engine_to_ns),
            "publish_ms": _ms(end_ns - write_ns),
            "node_ms": _ms(end_ns - start_ns) - engine_ms,
            "total_ms": _ms(end_ns - job.arrived_ns),
            "stamp_to_publish_ms": _ms(self._node_clock_ns() - job.stamp_ns),
        }
        if job.skew_s is not None:
            latencies["skew_ms"] = -1e3 * job.skew_s
        self._on_latencies(latencies)
        if hasattr(stages.registration, "offer") and abs(job.skew_s or 0.0) <= _LARGEST_SKEW_S:
            # After the frame is out; a comparison runs on a thread of its own.
            stages.registration.offer(grey, vis)

    def _follow(self, job: Job) -> None:
        """Let the thermal limits see the IR frame of a job that is not fused.

        What is smoothed over time then depends on the images that came, not on the engine's
        speed, and a bag replayed later gives the same.
        """
        seen = self._grey_cache[0]
        if job.ir is None or job.reason != FUSED or (seen and job.ir.number <= seen[0]):
            return
        try:
            self._rescale(self._current.stages, job.ir)
        except (FrameError, ConfigurationError) as error:
            self._on_event("pair: " + getattr(error, "kind", type(error).__name__), str(error))

    def _warm_up(self, engine: Any, job: Job, size: tuple[int, int]) -> None:
        """Let the engine see a new size first: it may build for minutes."""
        self.pass_through(job, WARM_UP)
        self._follow(job)
        # Noted first: a size that the engine refuses is refused at each frame, cheaply.
        self._warm_sizes.append(size)
        del self._warm_sizes[:-4]
        self.set_state(WARMING_UP, "{1}x{0}".format(*size))
        try:
            engine.warm_up(*size)
        finally:
            self.set_state(READY, "")

    def engine_opened(self) -> None:
        """Warm up again: this is a new engine."""
        self._warm_sizes = []

    def _prepare_ir(
        self, stages: Stages, frame: Any, size: tuple[int, int]
    ) -> tuple[tuple[np.ndarray, np.ndarray | None, np.ndarray], float, float]:
        """Return (8-bit IR on the visible grid, coverage, 8-bit IR), and both steps' ms.

        A slow thermal camera's frame serves several visible ones and is prepared once.
        """
        key = (frame.number, size, stages)
        cached = self._ir_cache  # `forget` may exchange it meanwhile
        if cached[0] == key:
            return cached[1], 0.0, 0.0
        start_ns = time.monotonic_ns()
        grey = self._rescale(stages, frame)
        thermal_ns = time.monotonic_ns()
        prepared = (*stages.registration.warp(grey, size), grey)
        end_ns = time.monotonic_ns()
        self._ir_cache = (key, prepared)
        return prepared, _ms(thermal_ns - start_ns), _ms(end_ns - thermal_ns)

    def _rescale(self, stages: Stages, frame: Any) -> np.ndarray:
        """Return the IR frame in 8 bits; once each, as smoothing over time counts the calls."""
        key = (frame.number, stages.thermal)
        cached = self._grey_cache  # `forget` may exchange it meanwhile
        if cached[0] != key:
            # By a whole number: 1e9 would round the stamp to 256 ns first, unlike the bags' walk.
            cached = (key, stages.thermal(frame.pixels, frame.stamp_ns / NS_PER_S))
            self._grey_cache = cached
        grey: np.ndarray = cached[1]
        return grey


def _ms(nanoseconds: int) -> float:
    return nanoseconds / 1e6
