"""Every message comes back once and in order, or is dropped once with its cause."""

import queue
import threading
from collections import Counter
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.messages.image_encodings import ImageMessageError
from irvis_fusion_ros.node.decode_thread import FAULT, OVERRUN, TOO_LONG, DecodeThread

PATIENCE_S = 40.0


class Bench:
    """A thread whose decoder waits for `allow`; `now_s` is its clock."""

    def __init__(self, depth=3):
        self.started, self.allowed = queue.Queue(), {}
        self.delivered, self.dropped = [], Counter()
        self.woken = threading.Semaphore(0)
        self.now_s = 0.0
        self.thread = DecodeThread(
            self._decode,
            lambda message, pixels, arrived_ns: self.delivered.append((message.name, pixels)),
            lambda cause, text: self.dropped.update([cause]),
            self.woken.release,
            depth,
            clock_s=lambda: self.now_s,
        )

    def _decode(self, message):
        self.started.put(message.name)
        assert message.may_end.wait(PATIENCE_S)
        if isinstance(message.result, Exception):
            raise message.result
        return message.result

    def submit(self, name, result=None, wait=False, data=b"12345678"):
        message = SimpleNamespace(name=name, data=data, result=result or f"pixels {name}")
        message.may_end = self.allowed[name] = threading.Event()
        if not wait:
            message.may_end.set()
        self.thread.submit(message)

    def take(self, count):
        for _ in range(count):
            assert self.woken.acquire(timeout=PATIENCE_S)
            self.thread.hand_over()

    def names(self):
        return [name for name, _ in self.delivered]


def wait_for_dropped(bench, cause, count):
    for _ in range(int(PATIENCE_S * 100)):
        if bench.dropped[cause] >= count:
            break
        threading.Event().wait(0.01)
    assert bench.dropped[cause] == count


def test_messages_come_back_in_order_with_their_pixels():
    bench = Bench()
    for number in range(20):
        bench.submit(number)
        bench.take(1)
    assert bench.delivered == [(number, f"pixels {number}") for number in range(20)]
    assert not bench.dropped


def test_a_message_that_is_refused_is_dropped_and_the_next_one_comes():
    bench = Bench()
    bench.submit("bomb", ImageMessageError("too_many_scans", "500"))
    bench.submit("fault", RuntimeError("ours"))
    bench.submit("good")
    bench.take(1)
    assert bench.names() == ["good"]
    assert bench.dropped == {"too_many_scans": 1, FAULT: 1}


def test_the_oldest_give_way_while_one_is_at_work():
    bench = Bench(depth=3)
    bench.submit("slow", wait=True)
    assert bench.started.get(timeout=PATIENCE_S) == "slow"
    for number in range(8):
        bench.submit(number)
    assert bench.dropped == {OVERRUN: 5}
    bench.allowed["slow"].set()
    bench.take(4)
    assert bench.names() == ["slow", 5, 6, 7]


def test_waiting_bytes_are_bounded():
    bench = Bench(depth=100)
    bench.submit("slow", wait=True)
    assert bench.started.get(timeout=PATIENCE_S) == "slow"
    large = SimpleNamespace(__len__=None)
    large = type("Data", (), {"__len__": lambda self: 1 << 25})()
    for number in range(7):
        bench.submit(number, data=large)
    assert bench.dropped == {OVERRUN: 3}
    bench.allowed["slow"].set()
    bench.take(5)
    assert bench.names() == ["slow", 3, 4, 5, 6]


def test_decoded_images_wait_for_the_executor_and_are_few():
    bench = Bench(depth=10)
    for number in range(6):
        bench.submit(number)
    assert [bench.started.get(timeout=PATIENCE_S) for _ in range(2)] == [0, 1]
    assert bench.woken.acquire(timeout=PATIENCE_S) and bench.woken.acquire(timeout=PATIENCE_S)
    with pytest.raises(queue.Empty):
        bench.started.get(timeout=0.2)
    while len(bench.delivered) < 6:
        bench.thread.hand_over()
    assert bench.names() == list(range(6)) and not bench.dropped


def test_an_image_whose_decoding_does_not_end_is_given_up_once():
    bench = Bench()
    bench.submit("endless", wait=True)
    assert bench.started.get(timeout=PATIENCE_S) == "endless"
    bench.now_s = 1.9
    bench.submit("a")
    assert not bench.dropped
    bench.now_s = 2.1
    bench.submit("b")
    bench.take(2)
    assert bench.names() == ["a", "b"] and bench.dropped == {TOO_LONG: 1}
    bench.submit("endless too", wait=True)  # threads do not pile up: this one has to end
    assert [bench.started.get(timeout=PATIENCE_S) for _ in range(3)] == ["a", "b", "endless too"]
    bench.now_s = 9.0
    bench.submit("c")
    assert bench.dropped == {TOO_LONG: 1} and bench.started.empty()
    bench.allowed["endless too"].set()
    bench.take(2)
    bench.allowed["endless"].set()  # comes out too late, and not a second time
    bench.submit("d")
    bench.take(1)
    assert bench.names() == ["a", "b", "endless too", "c", "d"]
    assert bench.dropped == {TOO_LONG: 1}


def test_what_waits_behind_such_an_image_comes_though_the_camera_has_stopped():
    bench = Bench()
    bench.submit("endless", wait=True)
    assert bench.started.get(timeout=PATIENCE_S) == "endless"
    bench.submit("a")
    bench.thread.watch()
    assert not bench.dropped and bench.started.empty()
    bench.now_s = 2.1
    bench.thread.watch()
    bench.take(1)
    assert bench.names() == ["a"] and bench.dropped == {TOO_LONG: 1}
    bench.allowed["endless"].set()


def test_what_is_cleared_is_dropped_and_does_not_come_later():
    bench = Bench(depth=10)
    bench.submit("before")
    assert bench.woken.acquire(timeout=PATIENCE_S)
    bench.submit("at work", wait=True)
    assert [bench.started.get(timeout=PATIENCE_S) for _ in range(2)] == ["before", "at work"]
    bench.submit("waits")
    bench.thread.clear("unsubscribed")
    assert bench.dropped == {"unsubscribed": 3}
    bench.allowed["at work"].set()
    bench.submit("after")
    bench.take(1)
    assert bench.names() == ["after"] and bench.dropped == {"unsubscribed": 3}
    bench.thread.clear("unsubscribed")
    assert bench.dropped == {"unsubscribed": 3}


def test_where_no_thread_can_be_started_the_next_message_tries_again(monkeypatch):
    bench = Bench(depth=10)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):  # counted by the guard around the callback
            bench.submit("a")
    bench.submit("b")
    bench.take(2)
    assert bench.names() == ["a", "b"] and not bench.dropped
