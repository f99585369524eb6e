"""The node in this process, with nobody on its graph: parameters, faults, remaps."""

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_core.errors import ConfigurationError, FusionError, ModelError
from irvis_fusion_ros.messages.serialized_image import head_bytes
from irvis_fusion_ros.node import frame_path, fusion_node
from irvis_fusion_ros.node.process import spin_once


class Log:
    """A logger that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)

    warning = error = info

    def debug(self, text):
        """Keep none: there is one for each frame."""


class Engine:
    """An engine that is never asked for an image."""

    def describe(self):
        return {}

    def close(self):
        """Hold nothing."""


class Made:
    """Makes nodes in one context, and ends them."""

    def __init__(self, monkeypatch):
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, domain_id=77)
        self._monkeypatch = monkeypatch
        self._nodes = []

    def __call__(self, *remaps, parameters=(), open_engine=lambda settings, progress: Engine()):
        arguments = ["--ros-args"]
        for remap in remaps:
            arguments += ["-r", remap]
        for parameter in parameters:
            arguments += ["-p", parameter]
        node = fusion_node.FusionNode(open_engine, context=self.context, cli_args=arguments)
        node.log = Log()
        self._monkeypatch.setattr(node, "get_logger", lambda: node.log)
        self._nodes.append(node)
        return node

    def close(self):
        for node in self._nodes:
            if node.state_label != "unconfigured":
                node.trigger_shutdown()
            node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def make(monkeypatch):
    made = Made(monkeypatch)
    yield made
    made.close()


def set_atomically(node, **values):
    """Set all or none; names with two underscores have a dot there."""
    wanted = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
    return node.set_parameters_atomically(wanted)


def test_whatever_keeps_it_from_configuring_is_said(make, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("out of memory")

    node = make()
    monkeypatch.setattr(frame_path, "FusionWorker", refuse)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.log.lines[-1] == "cannot configure: RuntimeError: out of memory"
    assert node.state_label == "unconfigured"
    monkeypatch.undo()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_parameters_of_two_sections_are_taken_together_or_not_at_all(make):
    node = make()
    assert node.start()
    before = node.live.current
    decider = node.configured.path._decider
    parts = (decider._pairing, decider._health)
    # Each value is in its range; the thermal limits cross, which only thermal rescaling sees.
    crossed = {"thermal__low_percent": 60.0, "thermal__high_percent": 40.0}
    result = set_atomically(node, pairing="pair", ir_time_offset_s=0.1, **crossed)
    assert not result.successful and "percent" in result.reason
    assert node.live.current == before
    assert parts == (decider._pairing, decider._health)
    assert node.get_parameter("pairing").value == "latest_ir"
    result = set_atomically(node, pairing="pair", thermal__low_percent=1.0)
    assert result.successful, result.reason
    assert decider._pairing.name == "pair" and parts[1] is decider._health


def test_what_the_second_of_two_parts_raises_unexpectedly_is_undone_too(make, monkeypatch):
    node = make()
    assert node.start()
    before = node.live.current

    def fail(settings):
        raise MemoryError("no room")

    monkeypatch.setattr(node.configured.stages, "renew", fail)
    result = set_atomically(node, slop_s=0.01, thermal__low_percent=1.0)
    assert not result.successful and "no room" in result.reason
    assert node.live.current == before
    assert "fault in the parameters: MemoryError" in node.events.counts()


def test_a_whole_file_may_be_loaded_where_the_fixed_values_stay(make):
    node = make()
    assert node.start()
    assert set_atomically(node, model="auto", threads=0, slop_s=0.02).successful
    assert node.live.current.pairing.slop_s == 0.02
    result = set_atomically(node, model="base", slop_s=0.03)
    assert not result.successful and "configured" in result.reason
    assert node.live.current.pairing.slop_s == 0.02


@pytest.mark.parametrize(
    "remap, parameter",
    [
        ("fused/image_raw:=vis/image_raw", "autostart:=true"),
        ("ir/image_raw:=fused/image_raw", "autostart:=true"),
        ("fused/camera_info:=vis/camera_info", "autostart:=true"),
        ("vis/image_raw/compressed:=fused/image_raw", "vis_transport:=compressed"),
        ("fused/image_raw/compressed:=ir/image_raw/compressed", "ir_transport:=compressed"),
    ],
)
def test_an_output_that_is_an_input_is_refused(make, remap, parameter):
    node = make(remap, parameters=[parameter, "publish_compressed:=true"])
    assert not node.start()
    assert "which this node publishes itself" in node.log.lines[0]


def test_a_topic_that_is_not_subscribed_to_is_no_loop(make):
    node = make("fused/image_raw:=vis/image_raw", parameters=["vis_transport:=compressed"])
    assert node.start()


@pytest.mark.parametrize(
    "remap, expected",
    [
        ("fused/image_raw:=/rgb/image", "/rgb/image/compressed"),
        ("fused/image_raw/compressed:=/jpeg", "/jpeg"),
        ("__ns:=/robot", "/robot/fused/image_raw/compressed"),
    ],
)
def test_the_compressed_topic_follows_the_image_unless_it_has_a_name_of_its_own(
    make, remap, expected
):
    node = make(remap, parameters=["publish_compressed:=true"])
    assert node.start()
    of_type = {each.topic_name for each in node.publishers if each.msg_type is CompressedImage}
    assert of_type == {expected}


def test_a_fault_in_a_callback_is_counted_and_logged_once_and_the_node_goes_on(make, monkeypatch):
    node = make(parameters=["diagnostics_period_s:=0.1", "lazy:=false"])
    assert node.start()
    reports = []

    def fail(*arguments):
        reports.append(1)
        raise ZeroDivisionError("no rate")

    monkeypatch.setattr(node.configured._report, "make", fail)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    while len(reports) < 3:
        executor.spin_once(timeout_sec=1.0)
    executor.remove_node(node)
    executor.shutdown()
    kind = "fault in the report: ZeroDivisionError"
    assert node.events.counts()[kind] == 3
    assert len([line for line in node.log.lines if line.startswith(kind)]) == 1


class Spun:
    """Spins a node as its process does, next to one that sends to it."""

    def __init__(self, node):
        self._sender = rclpy.create_node("sender", context=node.context)
        self._executor = SingleThreadedExecutor(context=node.context)
        for each in (node, self._sender):
            self._executor.add_node(each)
        self._node = node

    def until(self, condition):
        end_s = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < end_s, "it did not come"
            spin_once(self._executor, self._node)

    def publisher(self, message_type, topic):
        publisher = self._sender.create_publisher(message_type, topic, 10)
        self.until(publisher.get_subscription_count)
        return publisher

    def call(self, service_type, name, request):
        """Return the future answer."""
        client = self._sender.create_client(service_type, name)
        self.until(client.service_is_ready)
        return client.call_async(request)

    def close(self):
        self._executor.shutdown()
        self._sender.destroy_node()


@pytest.fixture
def spin(make):
    made = []

    def start(node):
        made.append(Spun(node))
        return made[-1]

    yield start
    for spun in made:
        spun.close()


def test_a_message_that_cannot_be_taken_costs_itself_alone(make, spin):
    node = make(parameters=["lazy:=false"])
    assert node.start()
    spun = spin(node)
    publisher = spun.publisher(Image, "vis/image_raw")
    vis = node.configured.inputs["vis"]
    subscription = vis._current
    fault = "fault in rclpy's executor: TypeError"
    subscription.raw = object()  # rclpy cannot take a message so
    publisher.publish(Image())
    spun.until(lambda: fault in node.events.counts())
    assert vis._current is subscription and vis.received == 0
    subscription.raw = True
    publisher.publish(Image())
    spun.until(lambda: vis.received == 1)
    assert node.events.counts()[fault] == 1 and vis._current is subscription


def test_a_request_that_cannot_be_taken_stops_neither_timers_nor_services(make, spin):
    node = make(parameters=["diagnostics_period_s:=0.1"])
    assert node.start()
    spun = spin(node)
    (service,) = (each for each in node.services if each.srv_name.endswith("/get_parameters"))
    service.srv_type = object()
    spun.call(GetParameters, "/fusion_node/get_parameters", GetParameters.Request())
    spun.until(lambda: "fault in rclpy's executor: AttributeError" in node.events.counts())
    service.srv_type = GetParameters
    reports = []
    make_report = node.configured._report.make
    node.configured._report.make = lambda: reports.append(1) or make_report()
    spun.until(lambda: len(reports) > 2)
    request = GetParameters.Request(names=["slop_s"])
    answer = spun.call(GetParameters, "/fusion_node/get_parameters", request)
    spun.until(answer.done)
    assert len(answer.result().values) == 1


NO_TYPE = ParameterValue(type=77)


def test_a_parameter_of_a_type_that_does_not_exist_is_refused(make, spin):
    node = make()
    assert node.start()
    spun = spin(node)
    wanted = [
        Parameter("max_ir_age_s", value=0.5).to_parameter_msg(),
        ParameterMessage(name="slop_s", value=NO_TYPE),
        Parameter("ir_time_offset_s", value=0.1).to_parameter_msg(),
    ]
    request = SetParameters.Request(parameters=wanted)
    answer = spun.call(SetParameters, "/fusion_node/set_parameters", request)
    request = SetParametersAtomically.Request(parameters=wanted)
    all_or_none = spun.call(
        SetParametersAtomically, "/fusion_node/set_parameters_atomically", request
    )
    spun.until(lambda: answer.done() and all_or_none.done())
    results = answer.result().results
    assert [each.successful for each in results] == [True, False, False]
    assert "77" in results[1].reason
    assert not all_or_none.result().result.successful
    assert "77" in all_or_none.result().result.reason
    assert node.get_parameter("ir_time_offset_s").value == 0.0
    counts = node.events.counts()
    assert counts["fault in the service set_parameters: ValueError"] == 1


def test_a_transition_that_does_not_exist_is_refused(make, spin):
    node = make()
    assert node.start()
    spun = spin(node)
    request = ChangeState.Request(transition=Transition(id=99))
    for _ in range(2):
        answer = spun.call(ChangeState, "/fusion_node/change_state", request)
        spun.until(answer.done)
        assert not answer.result().success and node.state_label == "active"
    request = ChangeState.Request(transition=Transition(label="deactivate"))
    answer = spun.call(ChangeState, "/fusion_node/change_state", request)
    spun.until(answer.done)
    assert answer.result().success and node.state_label == "inactive"


def test_the_wait_for_partners_is_timed_only_while_somebody_waits(make):
    node = make()
    assert node.start()
    timer = node.configured._expire_timer
    assert timer.is_canceled()
    node.configured._on_waiting()
    assert not timer.is_canceled()
    node.configured._on_expire()
    assert timer.is_canceled()


def test_an_engine_that_does_not_open_is_reported_by_the_class_of_its_error(make):
    def refuse(settings, progress):
        raise ModelError("no model file at /nowhere")

    assert issubclass(ModelError, FusionError) and not issubclass(ModelError, ConfigurationError)
    node = make(parameters=["engine_retry_s:=100.0"], open_engine=refuse)
    assert node.start()
    while not node.log.lines or "failed" not in node.log.lines[-1]:
        assert node.configured.path.worker.is_busy
        time.sleep(0.01)
    assert "engine failed: ModelError: no model file at /nowhere" in node.log.lines[-1]


def test_a_calibration_that_is_cut_off_leaves_the_one_before(make):
    node = make()
    assert node.start()
    sent = []
    node.configured.publishers.info = SimpleNamespace(publish=sent.append)
    whole = serialize_message(CameraInfo(height=4, width=6, binning_x=3))
    take = node.configured.inputs["vis_info"].on_message
    take(whole)
    take(whole[: len(whole) // 2])
    take(whole)
    node.configured.publishers._publish_info(head_bytes(1, 2, "camera"))
    assert deserialize_message(sent[-1], CameraInfo).binning_x == 3
    assert node.events.counts() == {"vis/camera_info: unreadable": 1}
