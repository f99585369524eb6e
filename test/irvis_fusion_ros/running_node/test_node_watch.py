"""The watch reads what a node in its namespace says in /diagnostics, and ends with a reason."""

import os

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.running_node import node_watch
from irvis_fusion_ros.running_node.environment import make_environment
from irvis_fusion_ros.running_node.node_watch import NodeWatch


@pytest.fixture
def watch(monkeypatch):
    for name, value in make_environment(1 + os.getpid() % 100, dds_profile=False).items():
        monkeypatch.setenv(name, value)
    with NodeWatch("/mine") as joined:
        yield joined


def report(watch, namespace, **statuses):
    """Publish statuses of the node in a namespace twice a second."""
    publisher = watch.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    message = DiagnosticArray()
    for name, values in statuses.items():
        pairs = [KeyValue(key=key.replace("_", " "), value=value) for key, value in values.items()]
        message.status.append(
            DiagnosticStatus(name=f"{namespace}/fusion_node: {name}", message=name, values=pairs)
        )
    watch.node.create_timer(0.05, lambda: publisher.publish(message))


def test_outcomes_and_engine_are_those_of_the_node_in_the_namespace(watch):
    report(watch, "other", fusion={"frames_fused": "7"}, engine={"engine": "another"})
    report(
        watch,
        "mine",
        fusion={"frames_fused": "3", "frames_dropped": "0", "rate": "1"},
        engine={"engine": "openvino", "device": "CPU", "state": "ready"},
    )
    watch.wait_until_fusing(60.0, frames=3)
    assert watch.outcomes() == {"fused": 3, "dropped": 0}
    assert watch.spin_until(lambda: bool(watch.engine()), 60.0)
    assert watch.engine_line() == "engine: openvino, device: CPU"


def test_a_node_that_does_not_fuse_is_told_with_what_it_says(watch, monkeypatch):
    monkeypatch.setattr(node_watch, "READY_TIMEOUT_S", 0.1)
    report(watch, "mine", fusion={"frames_fused": "0"}, engine={"state": "ready"})
    assert watch.spin_until(lambda: bool(watch.engine()), 60.0)
    with pytest.raises(EngineError, match="expected the node to fuse.*fusion: fusion.*doctor"):
        watch.wait_until_fusing(600.0)


def test_a_process_that_has_ended_ends_the_wait(watch):
    def check():
        raise EngineError("the camera has ended")

    with pytest.raises(EngineError, match="the camera has ended"):
        watch.wait_until_fusing(600.0, check)


def test_silence_is_named(watch):
    with pytest.raises(EngineError, match="no diagnostics"):
        watch.wait_until_fusing(0.1)
