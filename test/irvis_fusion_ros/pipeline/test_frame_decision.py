"""Decisions on any sequence of frames: each visible frame once, in order, for a stated reason."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams.health import IrHealth
from irvis_fusion_core.streams.pairing import make_pairing
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import UNPAIRED, FrameDecider
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED, PASSED, IrFrame

NS = 1_000_000_000
START_NS = 1000 * NS
EVENTS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["ir", "still", "vis", "expire"])),
    max_size=60,
)
VALUES = st.fixed_dictionaries(
    {
        "pairing": st.sampled_from(["latest_ir", "pair"]),
        "on_ir_loss": st.sampled_from(["passthrough", "hold", "stop"]),
        "on_unpaired": st.sampled_from(["passthrough", "drop"]),
        "hold_s": st.sampled_from([0.0, 0.3, 2.0]),
        "ir_frozen_after_s": st.sampled_from([0.0, 0.5]),
        "ir_time_offset_s": st.sampled_from([0.0, -0.1]),
    }
)


def image(number):
    return np.full((16, 16), number % 251, np.uint8)


def run(events, values, engine_ready=lambda: True):
    """Return the decisions, and pairs and verdicts by the core's own classes."""
    chosen = Settings.of(values)
    decider = FrameDecider(chosen, engine_ready)
    pairing = make_pairing(values["pairing"], ir_time_offset_s=values["ir_time_offset_s"])
    health = IrHealth(
        frozen_after_s=values["ir_frozen_after_s"], ir_time_offset_s=values["ir_time_offset_s"]
    )
    decisions, expected, now_ns, shown, vis = [], [], 0, 0, 0
    for wait_ms, kind in events:
        now_ns += wait_ms * 1_000_000 + 1
        stamp_ns = START_NS + now_ns
        if kind == "expire":
            pairs = pairing.expire(now_ns)
            decisions += decider.expire(now_ns)
        elif kind == "vis":
            vis += 1
            pairs = pairing.add_vis(stamp_ns, vis, now_ns)
            decisions += decider.add_vis(stamp_ns, vis, now_ns)
        else:
            shown += kind == "ir"
            frame = IrFrame(len(expected), stamp_ns, image(shown))
            health.add_frame(stamp_ns, frame.pixels, now_ns)
            pairs = pairing.add_ir(stamp_ns, frame, now_ns)
            decisions += decider.add_ir(frame, now_ns)
        expected += [(pair, health.verdict(pair.vis_stamp_ns, now_ns), now_ns) for pair in pairs]
    assert decider.pending == vis - len(decisions)
    return decisions, expected, vis


@settings(max_examples=150, deadline=None)
@given(EVENTS, VALUES)
def test_every_visible_frame_gets_one_decision_that_follows_from_pairing_and_health(
    events, values
):
    decisions, expected, vis = run(events, values)
    assert [decision.vis for decision in decisions] == list(range(1, len(decisions) + 1))
    usable_ns = None
    for decision, (pair, verdict, now_ns) in zip(decisions, expected):
        assert decision.health == verdict.reason
        if pair.paired and verdict.usable:
            usable_ns = now_ns
            assert (decision.action, decision.reason, decision.ir) == (FUSED, FUSED, pair.ir)
            assert decision.skew_s == pair.skew_s
            continue
        held_s = float("inf") if usable_ns is None else (now_ns - usable_ns) / NS
        alone = verdict.usable and pair.reason in UNPAIRED
        if decision.action == FUSED:
            assert values["on_ir_loss"] == "hold" and held_s <= values["hold_s"] and not alone
            skew_s = (decision.ir.stamp_ns - pair.vis_stamp_ns) / NS + values["ir_time_offset_s"]
            assert decision.skew_s == pytest.approx(skew_s, abs=1e-9)
            continue
        assert decision.ir is None
        assert decision.reason == (pair.reason if verdict.usable else "ir_" + verdict.reason)
        stops = values["on_unpaired"] == "drop" if alone else values["on_ir_loss"] == "stop"
        assert decision.action == (DROPPED if stops else PASSED)
        if values["on_ir_loss"] == "hold" and not alone:
            assert held_s > values["hold_s"]


@settings(max_examples=40, deadline=None)
@given(EVENTS, VALUES)
def test_nothing_is_dropped_for_want_of_ir_while_the_engine_is_not_ready(events, values):
    decisions, _, _ = run(events, {**values, "on_unpaired": "passthrough"}, lambda: False)
    assert DROPPED not in {decision.action for decision in decisions}


def test_the_sign_of_skew_is_ir_minus_visible():
    decider = FrameDecider(Settings())
    decider.add_ir(IrFrame(1, START_NS, image(1)), 0)
    (decision,) = decider.add_vis(START_NS + NS // 50, "vis", 1)
    assert decision.action == FUSED and decision.skew_s == pytest.approx(-0.02)


def test_switched_off_every_frame_passes():
    decider = FrameDecider(Settings.of({"enabled": False}))
    decider.add_ir(IrFrame(1, START_NS, image(1)), 0)
    (decision,) = decider.add_vis(START_NS, "vis", 1)
    assert (decision.action, decision.reason) == (PASSED, "disabled")


def test_parameters_that_do_not_go_together_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "message_filters", None)  # as if it were not installed
    with pytest.raises(ConfigurationError):
        FrameDecider(Settings()).prepare(Settings.of({"pairing": "message_filters"}))
