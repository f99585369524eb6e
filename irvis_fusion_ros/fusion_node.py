"""The fusion node: infrared and visible topics in, one fused topic out.

A lifecycle node, and here its wiring only. Callbacks store and decide; the worker (see
`worker.py`) runs the engine; `frame_processor.py` publishes. One thread runs all callbacks (a
SingleThreadedExecutor), so nothing here is locked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from typing import Any, Callable, Mapping

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool

from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_ros import parameters, report
from irvis_fusion_ros.diagnostics import EXAMPLE_CHARACTERS, EventCounter, LatencyTopics
from irvis_fusion_ros.frame_intake import FrameIntake
from irvis_fusion_ros.frame_processor import FrameProcessor, Outputs
from irvis_fusion_ros.fusion_stages import open_fusion
from irvis_fusion_ros.quality_of_service import (
    MatchedSubscription,
    QosPreference,
    make_profile,
    matched_events,
)
from irvis_fusion_ros.worker import FAILED, READY, WARMING_UP, FusionWorker

HOUSEKEEPING_S = 0.25
EXPIRE_S = 0.01
SPIN_S = 0.1
"""How soon a signal is noticed when nothing else happens."""
WARM_UP_LOG_S = 1.0
"""The log tells of a warm-up, and of its end, at most once in so long."""
CLOCK_JUMP_FORWARD_S = 2.0
"""A simulated clock that advances so much at once has jumped; slow clocks tick at 10 Hz."""

FusionFactory = Callable[[Mapping[str, Any], Callable[[str], None]], Any]


class FusionNode(LifecycleNode):
    """Fuses `ir/image_raw` into `vis/image_raw` and publishes `fused/image_raw`."""

    def __init__(self, open_engine: FusionFactory = open_fusion, **options: Any) -> None:
        """Declare the parameters. `open_engine(settings, progress)` opens the engine.

        Raises:
            ConfigurationError: a parameter override that its parameter cannot have.
        """
        super().__init__(parameters.NODE_NAME, **options)
        parameters.declare_all(self)
        self.settings: dict[str, Any] = parameters.read_all(self)
        self.events = EventCounter()
        self.worker: FusionWorker | None = None
        self._open_engine = open_engine
        self._engine_text: dict[str, str] = {}
        self._active = False
        self._tell_engine, self._tell_warm_up_from_s = True, 0.0
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._own_timers: list[Any] = []
        self._plain_publishers: list[Any] = []
        self._lifecycle_publishers: list[Any] = []
        self._silent: dict[str, str | None] = {}
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=Duration(seconds=CLOCK_JUMP_FORWARD_S),
                min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            ),
            post_callback=self._on_clock_jump,
        )

    # --- lifecycle

    @property
    def state_label(self) -> str:
        """The name of the present lifecycle state."""
        return str(self._state_machine.current_state[1])

    def start(self) -> bool:
        """Configure and activate, as `autostart` asks; False when either failed."""
        done = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == done and self.trigger_activate() == done

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Create topics and service, and let the worker open the engine."""
        try:
            self.settings.update(parameters.read_all(self))
            self._create_all()
        except Exception as error:  # noqa: BLE001 - rclpy drops what a transition raises, unsaid
            self.get_logger().error(f"cannot configure: {type(error).__name__}: {error}")
            self._destroy_all()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Subscribe to the cameras, at once or when somebody subscribes to us."""
        result = super().on_activate(state)
        self._active = True
        self._follow_demand()
        return result

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Unsubscribe from the cameras; the engine stays open."""
        self._active = False
        self._follow_demand()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        """Close the engine and remove what `on_configure` made."""
        self._active = False
        self._destroy_all()
        return super().on_cleanup(state)

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        """As `on_cleanup`, from any state."""
        return self.on_cleanup(state)

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that raised."""
        self.get_logger().error("a transition failed; back to unconfigured")
        return self.on_cleanup(state)

    # --- construction, in a fixed order

    def _create_all(self) -> None:
        settings = self.settings
        self._refuse_loops()
        profile = make_profile(
            settings["output_qos.reliability"],
            settings["output_qos.durability"],
            settings["output_qos.depth"],
        )
        self._fused = self._publish_on(Image, "fused/image_raw", profile)
        info = self._publish_on(CameraInfo, "fused/camera_info", profile)
        compressed = None
        if settings["publish_compressed"]:
            compressed = self._publish_on(CompressedImage, "fused/image_raw/compressed", profile)
        self._outputs = Outputs(self._fused, info, compressed, settings)
        self._diagnostics = self.create_publisher(report.DiagnosticArray, "/diagnostics", 10)
        self._plain_publishers.append(self._diagnostics)
        self.latencies = LatencyTopics(self)
        self.processor = FrameProcessor(
            self._outputs,
            settings,
            self.latencies.publish,
            lambda: self.get_clock().now().nanoseconds,
            self.note,
        )
        self.worker = FusionWorker(
            self._open_on_worker,
            self.processor.process,
            self.processor.failed,
            self._on_engine_state,
            settings["engine_retry_s"],
            settings["engine_stall_s"],
        )
        self.processor.set_state = self.worker.set_state
        self.intake = FrameIntake(
            settings,
            self.processor,
            self.worker,
            self.note,
            lambda: self.get_clock().now(),
        )
        self._report = report.Report(self)
        self.inputs = self._make_inputs()
        self._enable_service = self.create_service(SetBool, "~/enable", self._on_enable)
        for period_s, callback in (
            (HOUSEKEEPING_S, self._on_housekeeping),
            (settings["diagnostics_period_s"], self._on_report),
            (EXPIRE_S, self.intake.expire),
        ):
            # The steady clock: a paused simulation must not stop the watchdogs.
            timer = self.create_timer(period_s, callback, clock=self._steady_clock)
            self._own_timers.append(timer)
        self.worker.start()

    def _publish_on(self, message_type: Any, topic: str, profile: Any) -> Any:
        publisher = matched_events(
            lambda events: self.create_lifecycle_publisher(
                message_type, topic, profile, event_callbacks=events
            ),
            self._follow_demand,
        )
        self._lifecycle_publishers.append(publisher)
        return publisher

    def _make_inputs(self) -> dict[str, MatchedSubscription]:
        settings = self.settings

        def preference(name: str) -> QosPreference:
            return QosPreference(
                settings[name + "_qos.reliability"], depth=settings[name + "_qos.depth"]
            )

        def image(name: str, callback: Callable[[Any], None]) -> MatchedSubscription:
            compressed = settings[name + "_transport"] == "compressed"
            topic = name + "/image_raw" + ("/compressed" if compressed else "")
            message_type = CompressedImage if compressed else Image
            return MatchedSubscription(self, message_type, topic, callback, preference(name))

        return {
            "ir": image("ir", lambda message: self.intake.add_ir(message)),
            "vis": image("vis", lambda message: self.intake.add_vis(message)),
            "vis_info": MatchedSubscription(
                self, CameraInfo, "vis/camera_info", self._on_info, preference("vis")
            ),
        }

    def _refuse_loops(self) -> None:
        fused = self.resolve_topic_name("fused/image_raw")
        for topic in ("ir/image_raw", "vis/image_raw"):
            if self.resolve_topic_name(topic) == fused:
                raise ConfigurationError(
                    f"{topic} is remapped to {fused}, which this node publishes itself; remap"
                    f" fused/image_raw or {topic} elsewhere"
                )

    def _destroy_all(self) -> None:
        if self.worker is not None and not self.worker.stop(timeout_s=2.0):
            self.get_logger().warning("the engine is still busy; left to end by itself")
        self.worker = None
        for timer in self._own_timers:
            self.destroy_timer(timer)
        self._own_timers = []
        for subscription in getattr(self, "inputs", {}).values():
            subscription.close()
        self.inputs = {}
        if hasattr(self, "latencies"):
            self.latencies.destroy()
        if hasattr(self, "_enable_service"):
            self.destroy_service(self._enable_service)
            del self._enable_service
        for publisher in self._plain_publishers:
            self.destroy_publisher(publisher)
        for publisher in self._lifecycle_publishers:
            self.destroy_lifecycle_publisher(publisher)
        self._plain_publishers, self._lifecycle_publishers = [], []

    # --- callbacks

    def _on_info(self, message: Any) -> None:
        self._outputs.camera_info = message
        size = (message.height, message.width)
        if self.intake.vis_size not in (None, size) and size != (0, 0):
            height, width = self.intake.vis_size or (0, 0)
            self.note(
                "vis/camera_info: other size",
                "found {1}x{0}, the images are {3}x{2}".format(*size, height, width),
            )

    def _on_enable(self, request: Any, response: Any) -> Any:
        result = self.set_parameters(
            [Parameter("enabled", Parameter.Type.BOOL, bool(request.data))]
        )[0]
        response.success = result.successful
        response.message = result.reason or (
            "fusing" if request.data else "the visible picture passes through"
        )
        return response

    def _on_set_parameters(self, changed: list[Any]) -> SetParametersResult:
        values = {parameter.name: parameter.value for parameter in changed}
        reason = parameters.why_refused(values, configured=self.worker is not None)
        if reason is None and self.worker is not None:
            before = dict(self.settings)
            self.settings.update(parameters.known(values))
            try:
                self._apply(values)
            except FusionError as error:
                self.settings.update(before)
                reason = str(error)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _apply(self, values: Mapping[str, Any]) -> None:
        sections = Counter(
            spec.section for spec in map(parameters.spec_of, values) if spec is not None
        )
        if sections["thermal"] or sections["registration"]:
            self.processor.renew_stages()
        if sections["pairing"] or sections["health"]:
            self.intake.renew()
        if "lazy" in values:
            self._follow_demand()

    def _on_clock_jump(self, jump: Any) -> None:
        if self.worker is not None:
            self.note("clock jump", "node time jumped; buffers were cleared")
            self.intake.clear("clock_jump")

    def _on_housekeeping(self) -> None:
        now_s = time.monotonic()
        self._follow_demand()
        self.latencies.refresh()
        for name, subscription in self.inputs.items():
            changed = subscription.poll(now_s)
            if changed:
                self.get_logger().info(changed)
            silent = subscription.silence(now_s, self.settings["silence_timeout_s"])
            # Without calibration all else works, so its absence is for /diagnostics alone.
            if silent and not self._silent.get(name) and name != "vis_info":
                self.get_logger().warning(silent)
            self._silent[name] = silent

    def _on_report(self) -> None:
        self._diagnostics.publish(self._report.make(self._silent, self._engine_text))

    def _follow_demand(self, event: Any = None) -> None:
        """Subscribe or unsubscribe as the subscribers of the fused topics ask for it."""
        if not getattr(self, "inputs", None):
            return
        wanted = self._active and (not self.settings["lazy"] or self._outputs.wanted())
        for subscription in self.inputs.values():
            if wanted and not subscription.is_open:
                subscription.open(time.monotonic())
            elif not wanted and subscription.is_open:
                subscription.close()
                self.intake.clear("unsubscribed")

    # --- called on the worker's thread

    def _open_on_worker(self) -> Any:
        engine = self._open_engine(self.settings, lambda text: self.get_logger().info(text))
        self.processor.engine_opened()
        self._engine_text = {key: str(value) for key, value in engine.describe().items()}
        return engine

    def _on_engine_state(self, state: str, reason: str) -> None:
        text = "engine {}{}".format(state, ": " + reason if reason else "")
        if state == FAILED:
            self.get_logger().error(text + "; the visible picture passes through")
            return
        if state == WARMING_UP:  # at frame rate, where a camera changes its size at each frame
            self._tell_engine = time.monotonic() >= self._tell_warm_up_from_s
            if self._tell_engine:
                self._tell_warm_up_from_s = time.monotonic() + WARM_UP_LOG_S
        elif state != READY:
            self._tell_engine = True
        if self._tell_engine:
            self.get_logger().info(text)

    def note(self, kind: str, text: str) -> None:
        """Count an event, and log it when it is the first of its kind; from any thread."""
        if self.events.add(kind, text):
            shown = f"{kind}: {text[:EXAMPLE_CHARACTERS]}"
            self.get_logger().warning(shown + " (further ones are only counted)")


def main(arguments: list[str] | None = None, open_engine: FusionFactory = open_fusion) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 when it could not be configured."""
    # Our own handlers: rclpy's shut the context down before the lifecycle has ended.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: ended.append(received))
    try:
        node = FusionNode(open_engine)
    except ConfigurationError as error:
        print(f"fusion_node: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    result = 0
    if node.get_parameter("autostart").value and not node.start():
        result = 1
    while not ended and result == 0:
        executor.spin_once(timeout_sec=SPIN_S)
    worker = node.worker
    if node.state_label != "finalized":
        node.trigger_shutdown()
    executor.remove_node(node)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    if worker is not None and worker.is_busy:
        # An engine builder cannot be interrupted, and must not meet a dying interpreter.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(result)
    return result


if __name__ == "__main__":
    sys.exit(main())
