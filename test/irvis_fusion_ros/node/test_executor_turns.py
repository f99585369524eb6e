"""An executor that does not wake itself serves what rclpy's own serves."""

import os
import threading

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import deserialize_message
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from irvis_fusion_ros.node.executor import LoneExecutor, make_executor


@pytest.fixture
def node():
    rclpy.init(args=[], domain_id=1 + os.getpid() % 100)
    node = rclpy.create_node("lone")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def spun(executor, node, until):
    """Spin until `until()`; return the number of turns."""
    executor.add_node(node)
    for turn in range(1000):
        if until():
            return turn
        executor.spin_once(timeout_sec=1.0)
    raise AssertionError("expected it to come within 1000 turns")


@pytest.mark.parametrize("kind", [LoneExecutor, SingleThreadedExecutor])
def test_what_a_callback_adds_is_served(node, kind):
    """A timer makes a subscription, whose callback makes a timer, which publishes again."""
    found = []
    publisher = node.create_publisher(Int32, "numbers", 10)

    def on_number(message):
        found.append(message.data)
        if len(found) < 3:
            node.create_timer(0.001, lambda: publisher.publish(Int32(data=len(found))))

    def begin():
        timer.cancel()
        node.create_subscription(Int32, "numbers", on_number, 10)
        publisher.publish(Int32(data=7))

    timer = node.create_timer(0.001, begin)
    executor = kind()
    spun(executor, node, lambda: len(found) >= 3)
    assert found[0] == 7
    executor.shutdown()


def test_another_thread_wakes_it(node):
    executor, woken = LoneExecutor(), []
    executor.add_node(node)
    executor.spin_once(timeout_sec=0.0)
    other = threading.Timer(0.2, lambda: woken.append(executor.create_task(woken.append, "task")))
    other.start()
    spun(executor, node, lambda: "task" in woken)
    other.join()
    executor.shutdown()


@pytest.mark.parametrize("kind", [LoneExecutor, SingleThreadedExecutor])
def test_a_service_answers_while_serialized_messages_come(node, kind):
    """Each message makes the next one, so the executor never runs out of them."""
    found, answers = [], []
    publisher = node.create_publisher(Int32, "numbers", 10)

    def on_number(raw):
        found.append(deserialize_message(raw, Int32).data)
        publisher.publish(Int32(data=found[-1] + 1))

    def answer(request, response):
        response.success = True
        return response

    node.create_subscription(Int32, "numbers", on_number, 10, raw=True)
    node.create_service(Trigger, "ask", answer)
    client = node.create_client(Trigger, "ask")
    executor = kind()
    executor.add_node(node)
    publisher.publish(Int32(data=0))
    for _ in range(20000):
        executor.spin_once(timeout_sec=1.0)
        if not answers and len(found) > 3:
            answers.append(client.call_async(Trigger.Request()))
        if answers and answers[0].done() and len(found) > 30:
            break
    assert answers[0].result().success
    assert found == list(range(len(found)))
    executor.shutdown()


def test_rclpys_own_stands_in_where_rclpy_has_other_parts(node, monkeypatch):
    executor = make_executor()
    assert type(executor) is LoneExecutor
    executor.shutdown()
    monkeypatch.delattr(rclpy_implementation, "WaitSet")
    plain = make_executor()
    assert type(plain) is SingleThreadedExecutor
    plain.shutdown()
