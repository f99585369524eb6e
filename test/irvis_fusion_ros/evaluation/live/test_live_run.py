"""`--live`: stamps within bytes, and the whole of it with real processes over DDS."""

import json
import os

import numpy as np
import pytest
from bag_recording import START_NS, needs_rosbags
from evaluation_scene import write_bag
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
pytestmark = needs_rosbags


@settings(max_examples=30, deadline=None)
@given(stamp_ns=st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_are_read_and_written_where_cdr_has_them(stamp_ns):
    from rosbags.typesys import Stores, get_typestore

    from irvis_fusion_ros.evaluation.live.player import stamp_ns_of, with_stamp

    store = get_typestore(Stores.ROS2_HUMBLE)
    kind = "sensor_msgs/msg/CompressedImage"
    time = store.types["builtin_interfaces/msg/Time"](sec=12, nanosec=34)
    header = store.types["std_msgs/msg/Header"](stamp=time, frame_id="camera")
    message = store.types[kind](header=header, format="jpeg", data=np.arange(9, dtype=np.uint8))
    for little_endian in (True, False):
        raw = bytes(store.serialize_cdr(message, kind, little_endian=little_endian))
        assert stamp_ns_of(raw) == 12 * 10**9 + 34
        changed = with_stamp(raw, stamp_ns)
        assert stamp_ns_of(changed) == stamp_ns
        back = store.deserialize_cdr(changed, kind)
        assert back.header.stamp.sec * 10**9 + back.header.stamp.nanosec == stamp_ns
        assert (back.format, list(back.data)) == ("jpeg", list(range(9)))


@pytest.mark.slow
def test_the_running_node_agrees_with_the_walk(tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason="fuses with the shipped model on OpenVINO")
    from irvis_fusion_ros.commands.evaluate_bag import main

    monkeypatch.setenv("ROS_DOMAIN_ID", str(os.getpid() % 90 + 10))
    bag = write_bag(tmp_path / "bag", frames=60)
    report = tmp_path / "report"
    arguments = ["--live", "--quiet", "--model", "nano", "-p", "threads:=1", "--detector", "none"]
    arguments += ["--metrics", "Qabf", "--measured-frames", "4", "--live-rate", "0.5"]
    assert main([bag, "--output", str(report), *arguments]) == 0
    (live,) = json.loads((report / "summary.json").read_text())["live"].values()
    assert live["frames"] == 60
    assert live["received"] == 60  # fused or passed on, but none is lost
    # A busy machine may be late for some frames; those that were fused are explained, bit for bit.
    assert live["fused_live"] >= 1
    assert live["repeated_given_the_pairs"] == live["fused_live"]
    assert "differs for no known cause" not in live["causes"]
    assert live["identical"] + sum(live["causes"].values()) == 60
    rows = (report / "live.csv").read_text().splitlines()
    assert len(rows) == 61 and str(START_NS) in rows[1]
    assert "The running node against the offline replay" in (report / "report.html").read_text()
