"""A test's side of the ROS graph: the node as a process, cameras, and what comes out.

The node always runs in a process of its own; the test publishes and subscribes over DDS, on a
domain of its own and on this machine only.
"""

import fcntl
import itertools
import os
import tempfile
import time

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.running_node.camera_messages import make_image
from irvis_fusion_ros.running_node.child_process import ChildProcess
from irvis_fusion_ros.running_node.environment import make_environment, parameter_arguments

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
HEIGHT, WIDTH = 120, 160
DEPTH = 100
"""Deep queues: keep-last loses messages where a busy machine lets a process wait for long."""
PATIENCE_S = 40.0
"""How long a test waits for what has to come; a busy machine needs many times the usual."""
DOMAINS = tuple(range(215, 233))
"""The upper ones that Linux has ports for; people rarely use them."""
_domains = itertools.count(os.getpid() * 7)


def take_domain():
    """Return a domain that no other test on this machine has, and the open file that keeps it."""
    for number in itertools.islice(_domains, len(DOMAINS)):
        domain = DOMAINS[number % len(DOMAINS)]
        path = os.path.join(tempfile.gettempdir(), f"irvis_fusion_domain_{domain}")
        file = open(path, "w")  # noqa: SIM115 - kept open with the domain
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, file
        except OSError:
            file.close()
    raise RuntimeError(f"expected one of the domains {DOMAINS} to be free, found none")


def vis_frame(number):
    """Return a dim colour image that carries its number in the first pixel."""
    frame = np.full((HEIGHT, WIDTH, 3), (30, 60, 90), np.uint8)
    frame[0, 0] = (number % 200, number // 200, 7)
    return frame


def ir_frame(number):
    """Return an image with a bright square, and noise that differs in each frame."""
    noise = np.random.default_rng(number).integers(0, 25, (HEIGHT, WIDTH))
    frame = noise.astype(np.uint8)
    frame[40:80, 50:90] = 230
    frame[0, :3] = 0
    return frame


def resize(ir, shape):
    """Return `ir` in the size of `shape` with a channel, as mode `resize` gives it."""
    shrinks = ir.shape[0] > shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(ir, shape[1::-1], interpolation=method)[..., None]


def image_message(pixels, stamp, frame_id, encoding=None):
    """Return the sensor_msgs/Image of `pixels` (mono8 or bgr8)."""
    encoding = encoding or ("mono8" if pixels.ndim == 2 else "bgr8")
    return make_image(pixels, encoding, Header(stamp=stamp, frame_id=frame_id))


def stamp_key(message):
    """Return the stamp as nanoseconds."""
    return stamp_ns(message.header.stamp)


def pixels_of(message):
    """Return the pixels of an 8-bit message."""
    shape = (message.height, message.width, -1)
    return np.frombuffer(message.data, np.uint8).reshape(shape)


def start_process(name, arguments, domain, log_path, environment=None):
    """Start `python ARGUMENTS` in the test's domain; return a ChildProcess."""
    values = make_environment(domain, dds_profile=False)
    values.update(
        ROS_PYTHON_CHECK_FIELDS="1",
        OMP_NUM_THREADS="1",
        PYTHONPATH=os.pathsep.join([ROOT, HERE, values.get("PYTHONPATH", "")]),
    )
    values.update(environment or {})
    return ChildProcess(name, arguments, values, log_path=log_path, end_timeout_s=PATIENCE_S)


class Graph:
    """The test's own node: publishes both cameras by timetable and collects what is fused."""

    def __init__(self, tmp_path, reliable=True, subscribe=True):
        """Join a fresh domain."""
        self.domain, self._kept = take_domain()
        os.environ.update(make_environment(dds_profile=False))
        self.tmp_path = tmp_path
        self.processes = []
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("test", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        policy = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(depth=DEPTH, reliability=policy)
        self.ir = self.node.create_publisher(Image, "ir/image_raw", profile)
        self.vis = self.node.create_publisher(Image, "vis/image_raw", profile)
        self.info = self.node.create_publisher(CameraInfo, "vis/camera_info", profile)
        self.clock = self.node.create_publisher(Clock, "/clock", 10)
        self.fused = []
        self.infos = []
        self.statuses = {}
        self.reports = 0
        self.sent_ir = {}
        self.sent_vis = {}
        self.numbers = itertools.count()
        if subscribe:
            self.subscribe()
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def subscribe(self):
        """Begin to take the fused topics."""
        self.subscription = self.node.create_subscription(
            Image, "fused/image_raw", self.fused.append, DEPTH
        )
        self.node.create_subscription(CameraInfo, "fused/camera_info", self.infos.append, DEPTH)

    def start_node(self, parameters=None, environment=None, script=None, options=()):
        """Start the node (with the reference fusion unless `script` says otherwise)."""
        values = {
            "thermal.method": "none",
            "silence_timeout_s": 1.0,
            "diagnostics_period_s": 0.2,
            "engine_retry_s": 0.3,
            "ir_qos.depth": DEPTH,
            "vis_qos.depth": DEPTH,
            "output_qos.depth": DEPTH,
            "on_overrun": "passthrough",  # on a busy machine `auto` drops what a test counts
        }
        values.update(parameters or {})
        arguments = script or [os.path.join(HERE, "node_with_reference_fusion.py")]
        arguments = [*arguments, "--ros-args", *options, *parameter_arguments(values)]
        log_path = self.tmp_path / "node.log"
        process = start_process("fusion node", arguments, self.domain, log_path, environment)
        self.processes.append(process)
        self.fusion = process
        return process

    def start_camera(self, topic, rate_hz, kind):
        """Start a camera process that may be killed."""
        arguments = [os.path.join(HERE, "camera_process.py"), topic, str(rate_hz), kind]
        log_path = self.tmp_path / (kind + ".log")
        process = start_process(kind + " camera", arguments, self.domain, log_path)
        self.processes.append(process)
        return process

    def close(self):
        """End everything."""
        for process in self.processes:
            process.stop()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._kept.close()

    def spin(self, seconds):
        """Take messages for a while."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=max(0.0, end_s - time.monotonic()))

    def wait_for(self, condition, timeout_s=PATIENCE_S, what="the condition"):
        """Spin until `condition()`; fail with the node's log after `timeout_s`."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s:
                log = self.fusion.log() if hasattr(self, "fusion") else ""
                raise AssertionError(
                    "{} did not come; statuses {}\nlog:\n{}".format(what, self.statuses, log)
                )
            self.executor.spin_once(timeout_sec=0.05)

    def wait_for_named(self, *kinds):
        """Wait until /diagnostics names these kinds of event."""
        self.wait_for(
            lambda: (
                "messages" in self.statuses
                and all(kind in self.statuses["messages"].message for kind in kinds)
            ),
            what="the naming of " + ", ".join(kinds),
        )

    def now(self):
        """Return the present time as a stamp message."""
        return self.node.get_clock().now().to_msg()

    def send_ir(self, stamp=None, pixels=None):
        """Publish one thermal frame."""
        pixels = ir_frame(next(self.numbers)) if pixels is None else pixels
        message = image_message(pixels, stamp or self.now(), "ir")
        self.sent_ir[stamp_key(message)] = pixels
        self.ir.publish(message)

    def send_vis(self, stamp=None, pixels=None):
        """Publish one visible frame and its calibration."""
        pixels = vis_frame(len(self.sent_vis)) if pixels is None else pixels
        message = image_message(pixels, stamp or self.now(), "camera_optical")
        self.sent_vis[stamp_key(message)] = pixels
        info = CameraInfo(header=message.header, height=HEIGHT, width=WIDTH)
        info.k[0] = 250.0
        self.info.publish(info)
        self.vis.publish(message)

    def play(self, seconds, vis_hz=30.0, ir_hz=30.0, until=None, ir_pixels=None):
        """Publish both cameras by timetable for `seconds`, or until `until()`."""
        start_s = time.monotonic()
        sent = {"vis": 0, "ir": 0}
        while time.monotonic() - start_s < seconds:
            elapsed_s = time.monotonic() - start_s
            if ir_hz and elapsed_s >= sent["ir"] / ir_hz:
                self.send_ir(pixels=ir_pixels)
                sent["ir"] += 1
            if elapsed_s >= sent["vis"] / vis_hz:
                self.send_vis()
                sent["vis"] += 1
            if until is not None and until():
                return True
            self.executor.spin_once(timeout_sec=0.004)
        return until is None

    def play_until(self, condition, what, timeout_s=PATIENCE_S, **rates):
        """Publish until `condition()`; fail with the node's log when it does not come."""
        if not self.play(timeout_s, until=condition, **rates):
            raise AssertionError(
                "{} did not come; statuses {}\nlog:\n{}".format(
                    what, self.statuses, self.fusion.log()
                )
            )

    def is_fused(self, message):
        """Whether the image is max(ir, vis) of a thermal frame that was sent; else unchanged."""
        vis = self.sent_vis[stamp_key(message)]
        pixels = pixels_of(message)
        if np.array_equal(pixels, vis):
            return False
        near = sorted(self.sent_ir, key=lambda key: abs(key - stamp_key(message)))[:20]
        expected = (np.maximum(resize(self.sent_ir[key], vis.shape), vis) for key in near)
        assert any(np.array_equal(pixels, image) for image in expected), "neither"
        return True

    def level(self, name):
        """Return the level of the status whose name ends so, as a number, or None."""
        status = self.statuses.get(name)
        return None if status is None else ord(status.level)

    def value(self, name, key):
        """Return a value of a status, or None."""
        status = self.statuses.get(name)
        pairs = [] if status is None else [v.value for v in status.values if v.key == key]
        return pairs[0] if pairs else None

    def call(self, service_type, name, request, timeout_s=PATIENCE_S):
        """Call a service and return the response."""
        client = self.node.create_client(service_type, name)
        self.wait_for(client.service_is_ready, timeout_s, "service " + name)
        future = client.call_async(request)
        self.wait_for(future.done, timeout_s, "an answer of " + name)
        self.node.destroy_client(client)
        return future.result()

    def set_parameter(self, name, value):
        """Set a parameter of the node; return (successful, reason)."""
        from rcl_interfaces.srv import SetParameters

        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        result = self.call(SetParameters, "/fusion_node/set_parameters", request).results[0]
        return result.successful, result.reason

    def wait_for_report(self):
        """Wait for a report that was made after now: the next may have been on its way."""
        enough = self.reports + 2
        self.wait_for(lambda: self.reports >= enough, what="a report")

    def _on_diagnostics(self, message):
        self.reports += 1
        for status in message.status:
            self.statuses[status.name.split(": ")[-1]] = status


def wait_until_fusing(graph, **rates):
    """Play until the first fused frame came out, then forget what came before."""
    graph.play_until(
        lambda: bool(graph.fused and graph.infos) and graph.is_fused(graph.fused[-1]),
        "a fused frame and its calibration",
        **rates,
    )
    wait_until_all_are_out(graph)
    graph.wait_for(lambda: stamp_key(graph.infos[-1]) == max(graph.sent_vis), what="calibration")
    graph.fused.clear()
    graph.infos.clear()
    graph.sent_vis.clear()


LOAD_REASONS = {"overrun", "engine_stuck", "ir_stale", "ir_late", "ir_missing", "ir_too_old"}
"""Why a frame of a busy machine may pass unfused: engine or thermal camera got no time."""


def play_until_fused(graph, count, **rates):
    """Play until `count` more frames were fused; what passed meanwhile, passed because of load."""
    before = passed_frames(graph)
    graph.play_until(
        lambda: sum(map(graph.is_fused, graph.fused)) >= count, f"{count} fused frames", **rates
    )
    assert_every_visible_frame_came_out_once(graph)
    passed = {
        reason: number - before.get(reason, 0) for reason, number in passed_frames(graph).items()
    }
    others = {reason: number for reason, number in passed.items() if number}
    assert set(others) <= LOAD_REASONS, others


def passed_frames(graph):
    """Return how many frames passed unfused, by reason, as the node counts them."""
    graph.wait_for_report()
    start = "frames passed: "
    values = graph.statuses["fusion"].values
    return {v.key[len(start) :]: int(v.value) for v in values if v.key.startswith(start)}


def wait_until_all_are_out(graph):
    """Wait for the frame that was sent last: nothing is published before what came earlier."""
    graph.wait_for(
        lambda: bool(graph.fused) and stamp_key(graph.fused[-1]) == max(graph.sent_vis),
        what="the visible frame that was sent last",
    )


def assert_every_visible_frame_came_out_once(graph):
    """No visible frame lost, none twice, in order."""
    if graph.sent_vis:
        graph.wait_for(
            lambda: len(graph.fused) >= len(graph.sent_vis), what="as many frames as were sent"
        )
    graph.spin(0.05)  # one too many would come now
    assert [stamp_key(message) for message in graph.fused] == list(graph.sent_vis)
