"""Counters, rates and the message, against plain counting."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from collections import Counter

from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_ros.node.reports import diagnostics


@given(st.lists(st.sampled_from("abcd")))
def test_events_are_counted_and_new_once_a_kind(kinds):
    counter = diagnostics.EventCounter()
    new = [kind for number, kind in enumerate(kinds) if counter.add(kind, str(number))]
    assert new == list(dict.fromkeys(kinds))
    assert counter.counts() == Counter(kinds)
    assert counter.total() == len(kinds)
    for kind in new:
        assert counter.describe()[kind] == "{} ({})".format(kinds.count(kind), kinds.index(kind))


def test_endless_kinds_do_not_fill_the_memory():
    counter = diagnostics.EventCounter()
    new = sum(counter.add("kind {}".format(number)) for number in range(1000))
    assert new == diagnostics.KINDS_KEPT + 1  # and "other"
    assert counter.total() == 1000


def test_rate_is_the_difference_over_the_time():
    meter = diagnostics.RateMeter()
    assert meter.rate_hz(10.0, 5) == 0.0
    assert meter.rate_hz(12.0, 65) == 30.0
    assert meter.rate_hz(12.0, 70) == 0.0


def test_message_carries_every_status():
    statuses = [
        diagnostics.Status("n: ir", diagnostics.WARN, "late", {"age": "1"}),
        diagnostics.Status("n: vis", diagnostics.OK, "receiving", {}),
    ]
    message = diagnostics.make_diagnostics(Time(sec=3), "n", statuses)
    assert message.header.stamp.sec == 3
    found = [(s.name, s.level, s.message, s.hardware_id) for s in message.status]
    assert found == [("n: ir", b"\x01", "late", "n"), ("n: vis", b"\x00", "receiving", "n")]
    assert [(v.key, v.value) for v in message.status[0].values] == [("age", "1")]
