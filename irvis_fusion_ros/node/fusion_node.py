"""The fusion node: infrared and visible topics in, one fused topic out.

A lifecycle node, and here its wiring only. Callbacks store and decide (`frame_intake.py`); the
worker (`worker.py`) runs the engine; `frame_processor.py` publishes. One thread runs all callbacks
(a SingleThreadedExecutor), so nothing here is locked.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from irvis_fusion_ros.node import process as node_process
from irvis_fusion_ros.node.frame_intake import FrameIntake
from irvis_fusion_ros.node.frame_processor import FUSED, FrameProcessor
from irvis_fusion_ros.node.guard import Guard
from irvis_fusion_ros.node.live_parameters import LiveParameters, Parts, refusal
from irvis_fusion_ros.node.reports import diagnostics_report as report
from irvis_fusion_ros.node.reports.diagnostics import (
    EXAMPLE_CHARACTERS,
    EventCounter,
    LatencyTopics,
)
from irvis_fusion_ros.node.reports.engine_log import EngineLog
from irvis_fusion_ros.node.topics.calibration_topics import CameraCalibrations
from irvis_fusion_ros.node.topics.input_topics import CameraTopics, input_topics
from irvis_fusion_ros.node.topics.output_topics import FusedTopics, refuse_loops
from irvis_fusion_ros.node.worker import FusionWorker
from irvis_fusion_ros.parameters import declaration as parameters
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.stages import open_fusion

HOUSEKEEPING_S = 0.25
EXPIRE_S = 0.01
"""How often waiting visible frames are looked at; only while some wait."""
CLOCK_JUMP_FORWARD_S = 2.0
"""A simulated clock that advances so much at once has jumped; slow clocks tick at 10 Hz."""

FusionFactory = Callable[[Settings, Callable[[str], None]], Any]


class FusionNode(LifecycleNode):
    """Fuses `ir/image_raw` into `vis/image_raw` and publishes `fused/image_raw`."""

    def __init__(self, open_engine: FusionFactory = open_fusion, **options: Any) -> None:
        """Declare the parameters. `open_engine(settings, progress)` opens the engine.

        Raises:
            ConfigurationError: a parameter override that its parameter cannot have.
        """
        super().__init__(parameters.NODE_NAME, **options)
        parameters.declare_all(self)
        self.settings = LiveSettings(parameters.read_all(self))
        self.events = EventCounter()
        self.guard = Guard(self.note)
        self.worker: FusionWorker | None = None
        self.inputs: CameraTopics | None = None
        self._topics: FusedTopics | None = None
        self._open_engine = open_engine
        self._engine_text: dict[str, str] = {}
        self._active = False
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._undo: list[Callable[[], Any]] = []
        self._live = LiveParameters(self.settings)
        self.add_on_set_parameters_callback(
            self.guard("the parameters", self._live.on_set, refusal)
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=Duration(seconds=CLOCK_JUMP_FORWARD_S),
                min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            ),
            post_callback=self.guard("the clock's jump", self._on_clock_jump),
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
            self.settings.current = parameters.read_all(self)
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

    # --- construction, in a fixed order, each with what undoes it

    def _create_all(self) -> None:
        live, guard = self.settings, self.guard
        settings = live.current
        refuse_loops(self, settings, input_topics(settings))
        self._topics = FusedTopics(self, live, guard("a match", self._follow_demand))
        self._undo.append(self._topics.close)
        self._diagnostics = self.create_publisher(report.DiagnosticArray, "/diagnostics", 10)
        self._undo.append(lambda: self.destroy_publisher(self._diagnostics))
        self.latencies = LatencyTopics(self)
        self._undo.append(self.latencies.destroy)
        self.calibrations = CameraCalibrations(self, live, guard)
        self._undo.append(self.calibrations.close)
        self.processor = FrameProcessor(
            self._topics.outputs,
            live,
            self.latencies.publish,
            lambda: self.get_clock().now().nanoseconds,
            self.note,
            self.calibrations,
        )
        self.worker = FusionWorker(
            self._open_on_worker,
            self.processor.process,
            self.processor.failed,
            EngineLog(self.get_logger).on_state,
            settings.engine.engine_retry_s,
            settings.engine.engine_stall_s,
            runs_engine=lambda job: job.reason == FUSED,
        )
        self.processor.set_state = self.worker.set_state
        self.intake = FrameIntake(
            live, self.processor, self.worker, self.note, lambda: self.get_clock().now()
        )
        self._report = report.Report(self)
        callbacks = {
            "ir": guard("an infrared message", self.intake.add_ir),
            "vis": guard("a visible message", self.intake.add_vis),
            "vis_info": guard("a calibration message", self._on_info),
        }
        self.inputs = CameraTopics(self, live, callbacks)
        self._undo.append(self.inputs.close)
        service = self.create_service(SetBool, "~/enable", self._on_enable)
        self._undo.append(lambda: self.destroy_service(service))
        self._timer(HOUSEKEEPING_S, "housekeeping", self._on_housekeeping)
        self._timer(settings.reports.diagnostics_period_s, "the report", self._on_report)
        self._expire_timer = self._timer(EXPIRE_S, "a wait's end", self._on_expire)
        self._expire_timer.cancel()
        self.intake.on_waiting = self._on_waiting
        self._live.use(Parts(self.intake, self.processor, self._follow_demand))
        self._undo.append(self._live.forget)
        self.worker.start()

    def _timer(self, period_s: float, name: str, callback: Callable[[], None]) -> Any:
        # The steady clock: a paused simulation must not stop the watchdogs.
        timer = self.create_timer(period_s, self.guard(name, callback), clock=self._steady_clock)
        self._undo.append(lambda: self.destroy_timer(timer))
        return timer

    def _destroy_all(self) -> None:
        if self.worker is not None and not self.worker.stop(timeout_s=2.0):
            self.get_logger().warning("the engine is still busy; left to end by itself")
        self.worker = None
        while self._undo:  # guarded: what cannot be removed must not keep the rest
            self.guard("cleaning up", self._undo.pop())()
        self.inputs = self._topics = None

    # --- callbacks

    def _on_info(self, message: Any) -> None:
        if self._topics is None:
            return
        self._topics.outputs.camera_info = message
        self.calibrations.add_info("vis", message)
        size = (message.height, message.width)
        if self.intake.vis_size not in (None, size) and size != (0, 0):
            height, width = self.intake.vis_size or (0, 0)
            self.note(
                "vis/camera_info: other size",
                "found {1}x{0}, the images are {3}x{2}".format(*size, height, width),
            )

    def _on_enable(self, request: Any, response: Any) -> Any:
        try:
            wanted = Parameter("enabled", Parameter.Type.BOOL, bool(request.data))
            result = self.set_parameters([wanted])[0]
        except Exception as error:  # noqa: BLE001 - a service has to answer
            self.guard.caught("the service ~/enable", error)
            result = refusal(error)
        response.success = result.successful
        response.message = result.reason or (
            "fusing" if request.data else "the visible image passes through"
        )
        return response

    def _on_clock_jump(self, jump: Any) -> None:
        if self.worker is not None:
            self.note("clock jump", "node time jumped; buffers were cleared")
            self.intake.clear("clock_jump")

    def _on_waiting(self) -> None:
        if self._expire_timer.is_canceled():
            self._expire_timer.reset()

    def _on_expire(self) -> None:
        if not self.intake.expire():
            self._expire_timer.cancel()

    def _on_housekeeping(self) -> None:
        self._follow_demand()
        self.latencies.refresh()
        self.intake.relieve()
        if self.inputs is not None:
            self.inputs.watch()

    def _on_report(self) -> None:
        silent = {} if self.inputs is None else self.inputs.silent
        self._diagnostics.publish(self._report.make(silent, self._engine_text))

    def _follow_demand(self, event: Any = None) -> None:
        """Subscribe or unsubscribe as the subscribers of the fused topics ask for it."""
        if self.inputs is None or self._topics is None:
            return
        demand = not self.settings.current.node.lazy or self._topics.outputs.wanted()
        if self.inputs.follow(self._active and demand):
            self.intake.clear("unsubscribed")

    def recover(self, error: Exception) -> None:
        """Go on after rclpy raised outside our callbacks, where a subscription may have stuck."""
        self.guard.caught("rclpy's executor", error)
        if self.inputs is not None:
            self.inputs.reopen()

    # --- called on the worker's thread

    def _open_on_worker(self) -> Any:
        engine = self._open_engine(
            self.settings.current, lambda text: self.get_logger().info(text)
        )
        self.processor.engine_opened()
        self._engine_text = {key: str(value) for key, value in engine.describe().items()}
        return engine

    def note(self, kind: str, text: str) -> None:
        """Count an event, and log it when it is the first of its kind; from any thread."""
        if self.events.add(kind, text):
            shown = f"{kind}: {text[:EXAMPLE_CHARACTERS]}"
            self.get_logger().warning(shown + " (further ones are only counted)")


def main(arguments: list[str] | None = None, open_engine: FusionFactory = open_fusion) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 when it could not be configured."""
    return node_process.run(lambda: FusionNode(open_engine), arguments)


if __name__ == "__main__":
    sys.exit(main())
