"""ROS's own synchroniser behind our interface; where it is not installed, the reason."""

import importlib.util
import sys
import types

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams.pairing import (
    CLEARED,
    NO_IR,
    NO_PARTNER,
    PAIRED,
    WAITED,
    ZERO_STAMP,
)
from irvis_fusion_ros.pipeline.message_filters_pairing import StockPairing

INSTALLED = importlib.util.find_spec("message_filters") is not None
needs_ros = pytest.mark.skipif(not INSTALLED, reason="needs message_filters, which has no wheel")
MS = 1_000_000


@pytest.mark.skipif(INSTALLED, reason="message_filters is installed here")
def test_missing_package_is_named():
    with pytest.raises(ConfigurationError, match="message_filters"):
        StockPairing(0.05, 0.0, 10, 0.1)


def play(policy, start_ns):
    """Play 3 s at 30 and 9 Hz with a steady clock beside it; return the outcomes."""
    events = [(number * 1000 // 30, "vis") for number in range(90)]
    events += [(2 + number * 1000 // 9, "ir") for number in range(27)]
    out = []
    for at_ms, stream in sorted(events):
        add = policy.add_vis if stream == "vis" else policy.add_ir
        out += add(start_ns + at_ms * MS, (stream, at_ms), at_ms * MS)
    return out + policy.expire(10_000 * MS)


@needs_ros
def test_every_loop_of_a_bag_gives_the_same_pairs_and_no_frame_is_lost():
    policy = StockPairing(0.03, 0.0, 10, 0.2)
    counts = []
    for _ in range(3):
        out = play(policy, 1000 * 10**9)
        assert [pair.vis[1] for pair in out] == [number * 1000 // 30 for number in range(90)]
        counts.append(sum(pair.paired for pair in out))
    assert counts[0] == counts[1] == counts[2] >= 20


@needs_ros
def test_outcomes_carry_their_reasons_and_the_skew():
    policy = StockPairing(0.02, -0.1, 10, 0.1)
    assert policy.add_vis(0, "unstamped")[0].reason == ZERO_STAMP
    assert policy.add_vis(1_000 * MS, "a", 0) == []
    out = policy.add_ir(1_105 * MS, "ir", 1 * MS)
    assert [(pair.vis, pair.ir, pair.reason) for pair in out] == [("a", "ir", PAIRED)]
    assert out[0].skew_s == pytest.approx(0.005)
    assert out[0].ir_stamp_ns == 1_105 * MS
    assert policy.add_vis(1_100 * MS, "b", 100 * MS) == []
    assert [pair.reason for pair in policy.expire(201 * MS)] == [WAITED]
    assert policy.add_vis(1_200 * MS, "c", 300 * MS) == []
    assert [pair.reason for pair in policy.clear("test")] == [CLEARED]
    assert policy.pending == 0
    assert {NO_IR, NO_PARTNER}.isdisjoint(policy.counters)


def test_the_last_stamp_that_a_message_can_hold_does_not_raise(monkeypatch):
    monkeypatch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
    taken = []
    stock = types.SimpleNamespace(
        SimpleFilter=lambda: types.SimpleNamespace(signalMessage=taken.append),
        ApproximateTimeSynchronizer=lambda *arguments: types.SimpleNamespace(
            registerCallback=lambda callback: None, queues=[{}, {}]
        ),
    )
    monkeypatch.setitem(sys.modules, "message_filters", stock)
    policy = StockPairing(0.05, 10.0, 10, 0.1)
    policy.add_ir((2**31 - 1) * 1000 * MS, "ir", 0)
    assert taken[0].stamp.sec == 2**31 - 1 and taken[0].item == ((2**31 - 1) * 1000 * MS, "ir")
