"""The guard around callbacks, and the loop that goes on after what rclpy raises."""

import types

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node import process as node_process
from irvis_fusion_ros.node.guard import Guard


def test_a_callback_that_raises_is_named_with_its_place_and_answers_otherwise():
    notes = []
    guard = Guard(lambda kind, text: notes.append((kind, text)))

    def fail(value):
        return {}[value]

    assert guard("a message", fail)("x") is None
    assert guard("a service", fail, lambda error: repr(error))("x") == "KeyError('x')"
    assert guard("a message", str)(7) == "7"
    kinds, texts = zip(*notes)
    assert kinds == ("fault in a message: KeyError", "fault in a service: KeyError")
    assert "'x' (test_guard.py:" in texts[0]


def test_an_interrupt_is_not_held_back():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guard(lambda kind, text: None)("a timer", interrupt)()


def test_spinning_goes_on_after_what_the_executor_raises():
    turns, recovered = [], []

    def turn(timeout_sec):
        turns.append(timeout_sec)
        raise RuntimeError("failed to take message")

    executor = types.SimpleNamespace(spin_once=turn)
    node = types.SimpleNamespace(recover=recovered.append)
    for _ in range(3):
        node_process.spin_once(executor, node)
    assert len(turns) == 3 and [str(e) for e in recovered] == ["failed to take message"] * 3
