"""The node in this process, with nobody on its graph: parameters, faults, remaps."""

import time

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from irvis_fusion_core.errors import ConfigurationError, FusionError, ModelError
from irvis_fusion_ros.node import configured, fusion_node


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
    monkeypatch.setattr(configured, "FusionWorker", refuse)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.log.lines[-1] == "cannot configure: RuntimeError: out of memory"
    assert node.state_label == "unconfigured"
    monkeypatch.undo()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_parameters_of_two_sections_are_taken_together_or_not_at_all(make):
    node = make()
    assert node.start()
    before = node.live.current
    decider = node.configured.intake._decider
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


def test_after_a_fault_of_rclpy_the_cameras_are_subscribed_anew(make):
    node = make(parameters=["lazy:=false", "registration.mode:=calibration"])
    assert node.start()
    topics = node.configured.inputs["vis"], node.configured.calibrations._ir_info
    before = [topic._current for topic in topics]
    node.recover(RuntimeError("failed to take message"))
    assert all(topic.is_open for topic in topics)
    assert not any(topic._current is old for topic, old in zip(topics, before))
    assert "fault in rclpy's executor: RuntimeError" in node.events.counts()


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
        assert node.configured.worker.is_busy
        time.sleep(0.01)
    assert "engine failed: ModelError: no model file at /nowhere" in node.log.lines[-1]
