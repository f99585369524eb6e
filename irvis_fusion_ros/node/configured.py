"""All that exists while the node is configured: topics, worker, timers, and what connects them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.qos import qos_profile_parameters
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.messages.image_encodings import ImageMessageError
from irvis_fusion_ros.messages.serialized_image import (
    AnySerializedImage,
    SerializedCompressedImage,
    SerializedImage,
)
from irvis_fusion_ros.node.decode_thread import DecodeThread
from irvis_fusion_ros.node.engine_state import READY, EngineLog, EngineState
from irvis_fusion_ros.node.frame_output import FrameOutput
from irvis_fusion_ros.node.frame_path import DEACTIVATED, FramePath
from irvis_fusion_ros.node.overload import Overload
from irvis_fusion_ros.node.reports.diagnostics import Report
from irvis_fusion_ros.node.reports.latency_topics import LatencyTopics
from irvis_fusion_ros.node.reports.output import OutputReport
from irvis_fusion_ros.node.topics.calibration_topics import CalibrationTopics
from irvis_fusion_ros.node.topics.image_topics import CameraTopics, make_publishers, refuse_loops
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.message_checks import MessageChecks
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser

if TYPE_CHECKING:
    from irvis_fusion_ros.node.fusion_node import FusionNode

HOUSEKEEPING_S = 0.25
EXPIRE_S = 0.01
"""Period at which waiting visible frames are looked at; only while some wait."""
STOP_TIMEOUT_S = 2.0


class Configured:
    """Makes the parts in order and removes them in the reverse order.

    `engine_text` is what the engine says of itself.
    """

    def __init__(self, node: FusionNode) -> None:
        """Create everything on `node` and start the worker, which opens the engine.

        Raises:
            ConfigurationError: Parameters or remaps that do not go together.
        """
        self.engine_text: dict[str, str] = {}
        self._info_raw, self._info_size = b"", (0, 0)
        self._node = node
        live, guard, note = node.live, node.guard, node.note
        clock: Any = node.get_clock()  # rclpy's types call a node's ROSClock a Clock
        settings = live.current
        refuse_loops(node, settings)
        with ExitStack() as undo:
            on_demand = guard("a match", node.follow_demand)
            self.publishers = make_publishers(node, live, on_demand, note, undo)
            diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
            undo.callback(node.destroy_publisher, diagnostics)
            self.latencies = LatencyTopics(node)
            undo.callback(self.latencies.destroy)
            self.calibrations = CalibrationTopics(
                node, live, guard, lambda: self.stages.renew_registration()
            )
            undo.callback(self.calibrations.close)
            self.calibrations.follow()
            self.stages = CurrentStages(settings, self.calibrations.snapshot, self._tell)
            debug = node.get_logger().debug
            self.output = FrameOutput(self.publishers, live, note, debug)
            self.overload = Overload(live, note)
            self._fuser: PairFuser | None = None
            self._engine_log = EngineLog(node.get_logger)
            self.engine_state = EngineState(self._on_engine_state)
            self._expire_timer = self._timer(undo, EXPIRE_S, "a wait's end", self._on_expire)
            self._expire_timer.cancel()

            def now_ns() -> int:
                # Without a simulated clock it is the system's, which rclpy wraps in three objects.
                return clock.now().nanoseconds if clock.ros_time_is_active else time.time_ns()

            self.checks = MessageChecks(note, now_ns, live)
            self.path = FramePath(
                live,
                self.checks,
                self.output,
                self.overload,
                self.stages,
                self.engine_state,
                self._open_on_worker,
                note,
                now_ns,
                self.latencies.publish,
                self._on_waiting,
            )
            on_info = guard("a calibration message", self._on_info)
            self.decoders: list[DecodeThread[Any]] = []

            def add_ir(message: Any, unpacked: Any = None, arrived_ns: int = 0) -> None:
                self.path.add_ir(message, unpacked)

            take_ir = self._taking(undo, "ir", self.checks.unpack_ir, add_ir)
            take_vis = self._taking(undo, "vis", self.checks.unpack_vis, self.path.add_vis)
            callbacks = {
                "ir": guard("an infrared message", take_ir),
                "vis": guard("a visible message", take_vis),
                "vis_info": on_info,
            }
            self.inputs = CameraTopics(node, live, callbacks)
            undo.callback(self.inputs.follow, False)
            # As many requests at once as the parameter services take; by default ten, unsaid.
            service = node.create_service(
                SetBool, "~/enable", node.on_enable, qos_profile=qos_profile_parameters
            )
            undo.callback(node.destroy_service, service)
            self._timer(undo, HOUSEKEEPING_S, "housekeeping", self._on_housekeeping)
            self.output_report = OutputReport(node, live, self.checks.sizes)
            self._report = Report(node, self)
            period_s = settings.reports.diagnostics_period_s
            publish = diagnostics.publish
            self._timer(undo, period_s, "the report", lambda: publish(self._report.make()))
            self._undo = undo.pop_all()
        self.path.worker.start()

    def retire(self) -> None:
        """Unsubscribe, and let out every frame that is on its way: publishing ends after this."""
        self.follow(False)
        self.path.finish(DEACTIVATED)

    def close(self) -> None:
        """End the worker and remove everything."""
        self.retire()
        if not self.path.worker.stop(STOP_TIMEOUT_S):
            self._node.get_logger().warning("the engine is still busy; it is left to end alone")
        try:
            self._undo.close()  # goes on where one part cannot be removed
        except Exception as error:  # noqa: BLE001 - a transition has to end
            self._node.guard.caught("cleaning up", error)

    def follow(self, wanted: bool) -> None:
        """Subscribe to the cameras or unsubscribe."""
        if self.inputs.follow(wanted):
            for decoder in self.decoders:
                decoder.clear("unsubscribed")
            self.path.clear("unsubscribed")

    def exchange(self, new: Settings) -> str | None:
        """Put parameters to use; return why that cannot be, with everything as it was."""
        try:
            put_to_use = self.path.prepare(new)
            self.stages.renew(new)  # exchanges all stages, or raises and exchanges none
        except FusionError as error:
            return str(error)
        self._node.live.current = new
        put_to_use()
        self.calibrations.follow()
        if self.stages.stages.problem:
            self.stages.renew_registration()  # `follow` may have found out why one is missing
        return None

    def _taking(
        self,
        undo: ExitStack,
        camera: str,
        unpack: Callable[[Any], Any],
        add: Callable[..., None],
    ) -> Callable[[bytes], None]:
        """Return what takes the serialized images of "ir" or "vis", for the executor's thread.

        Raw ones go to `add`, compressed ones to a thread that decodes them for `add`.
        """
        transport, _, depth = self._node.live.current.topics.camera(camera)
        kind: type[AnySerializedImage] = SerializedImage

        def refused(cause: str, text: str) -> None:
            if text:
                self._node.note(f"{camera}: {cause}", text)
            if camera == "vis":
                self.output.drop("vis_" + cause)

        if transport == "compressed":
            guarded = self._node.guard(f"a decoded {camera} image", lambda: decoder.hand_over())
            group = MutuallyExclusiveCallbackGroup()
            condition = self._node.create_guard_condition(guarded, group)
            undo.callback(self._node.destroy_guard_condition, condition)
            decoder = DecodeThread(unpack, add, refused, condition.trigger, depth)
            undo.callback(decoder.clear, "unsubscribed")
            self.decoders.append(decoder)
            kind, add = SerializedCompressedImage, decoder.submit

        def take(raw: bytes) -> None:
            try:
                message = kind(raw)
            except ImageMessageError as error:
                refused(error.kind, str(error))
            else:
                add(message)

        return take

    def _timer(
        self, undo: ExitStack, period_s: float, name: str, callback: Callable[[], None]
    ) -> Any:
        # The steady clock: a paused simulation must not stop the watchdogs.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self._node.create_timer(period_s, self._node.guard(name, callback), clock=clock)
        undo.callback(self._node.destroy_timer, timer)
        return timer

    def _tell(self, text: str, is_problem: bool) -> None:
        if is_problem:  # rclpy allows one severity for each place in the code
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().info(text)

    # --- callbacks on the executor's thread

    def _on_info(self, raw: bytes) -> None:
        if raw[12:] != self._info_raw[12:]:  # most differ in the stamp alone
            try:
                message = deserialize_message(raw, CameraInfo)  # all of it, before it goes out
                self.publishers.set_camera_info(raw)
            except Exception as error:  # noqa: BLE001 - of rclpy, whose kinds differ by version
                self._node.note("vis/camera_info: unreadable", f"{type(error).__name__}: {error}")
                return
            self._info_raw, self._info_size = raw, (message.height, message.width)
            self.calibrations.add_info("vis", message)
        size = self._info_size
        found = self.checks.sizes.get("vis", size)
        if found != size and size != (0, 0):
            text = "found {1}x{0}, the images are {3}x{2}".format(*size, *found)
            self._node.note("vis/camera_info: other size", text)

    def _on_waiting(self) -> None:
        if self._expire_timer.is_canceled():
            self._expire_timer.reset()

    def _on_expire(self) -> None:
        if not self.path.expire():
            self._expire_timer.cancel()

    def _on_housekeeping(self) -> None:
        self._node.follow_demand()
        self.latencies.refresh()
        self.path.relieve()
        for decoder in self.decoders:
            decoder.watch()
        self.inputs.watch()
        self.calibrations.watch()
        self.stages.follow_files()

    # --- on the worker's thread

    def _open_on_worker(self) -> PairFuser:
        node = self._node
        self._fuser = PairFuser(
            node.open_engine(node.live.current, lambda text: node.get_logger().info(text))
        )
        if self._fuser.describe().get("backend") != "numpy":
            # The node's own OpenCV calls are short: to wake and await OpenCV's threads costs more
            # processor time than they save. The engine numpy calculates by OpenCV.
            cv2.setNumThreads(1)
        return self._fuser

    def _on_engine_state(self, state: str, reason: str) -> None:
        if state == READY and self._fuser is not None:
            facts = self._fuser.describe()
            self.engine_text = {key: str(value) for key, value in facts.items()}
            if not reason and "engine" in facts:
                reason = "{engine} on {device}, model {variant} {precision}".format(**facts)
                if facts["backend"] == "numpy":
                    reason += "; slow, docs/install.md tells how to add a faster engine"
        self._engine_log.on_state(state, reason)
