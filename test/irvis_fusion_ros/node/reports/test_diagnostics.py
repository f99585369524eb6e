"""The message, against its parts."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from builtin_interfaces.msg import Time

from irvis_fusion_ros.node.reports import diagnostics


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
