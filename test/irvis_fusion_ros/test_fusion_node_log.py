"""What the node logs, with the node in this process and nobody on its graph."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn

from irvis_fusion_ros import fusion_node
from irvis_fusion_ros.worker import FAILED, LOADING, READY, WARMING_UP


class Log:
    """A logger that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)

    warning = error = info


@pytest.fixture
def node(monkeypatch):
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=77)
    made = fusion_node.FusionNode(context=context)
    made.log = Log()
    monkeypatch.setattr(made, "get_logger", lambda: made.log)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


def test_whatever_keeps_it_from_configuring_is_said(node, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(fusion_node, "FusionWorker", refuse)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.log.lines == ["cannot configure: RuntimeError: out of memory"]
    assert node.state_label == "unconfigured"


def test_a_camera_that_changes_its_size_at_each_frame_does_not_fill_the_log(node):
    node._on_engine_state(LOADING, "opening the engine")
    node._on_engine_state(READY, "")
    for width in range(100):
        node._on_engine_state(WARMING_UP, f"{width}x480")
        node._on_engine_state(READY, "")
    assert len(node.log.lines) == 4
    node._on_engine_state(FAILED, "lost")
    node._on_engine_state(LOADING, "opening the engine")
    node._on_engine_state(READY, "")
    assert [line.split(":")[0] for line in node.log.lines[4:]] == [
        "engine failed",
        "engine loading",
        "engine ready",
    ]
