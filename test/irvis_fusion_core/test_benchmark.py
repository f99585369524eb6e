"""Timing: against a clock that is made to say known things."""

import os

import numpy as np
import pytest

from irvis_fusion_core.benchmark import (
    example_pair,
    machine,
    stage_calls,
    summarize,
    time_interleaved,
    usable_cores,
)
from irvis_fusion_core.errors import ConfigurationError


class Clock:
    """Seconds that pass only when something works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, *seconds):
        """A call that takes these times in turn."""
        taken = list(seconds)

        def call():
            self.now += taken[0]
            taken.append(taken.pop(0))

        return call


def test_medians_and_percentiles_are_those_of_the_durations():
    timing = summarize([0.001 * n for n in range(1, 101)])
    assert timing.median_ms == pytest.approx(50.5)
    assert timing.p10_ms == pytest.approx(10.9)  # linear between neighbours: 1 + 0.1 * 99
    assert timing.p99_ms == pytest.approx(99.01)
    assert timing.rounds == 100 and timing.rate_hz == pytest.approx(1000 / 50.5)


def test_each_call_gets_its_own_time():
    clock = Clock()
    timings = time_interleaved(
        {"slow": clock.work(0.2), "quick": clock.work(0.01, 0.03)}, 8, 2, clock=clock
    )
    assert timings["slow"].median_ms == pytest.approx(200)
    assert timings["quick"].median_ms == pytest.approx(20)
    assert timings["slow"].rounds == timings["quick"].rounds == 8


def test_who_comes_first_changes_and_warm_up_is_not_counted():
    clock, order = Clock(), []

    def call(name):
        def run():
            order.append(name)
            clock.now += 1.0

        return run

    time_interleaved({name: call(name) for name in "abc"}, 3, 1, clock=clock)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"


def test_a_turn_is_filled_and_its_first_call_not_counted():
    clock = Clock()
    # The first call of each turn of five is slow, as with cold caches.
    timings = time_interleaved(
        {"x": clock.work(0.05, 0.01, 0.01, 0.01, 0.01)}, 4, 0, turn_s=0.085, clock=clock
    )
    assert timings["x"].rounds == 4 * 4
    assert timings["x"].p99_ms == pytest.approx(10)


@pytest.mark.parametrize("calls, rounds", [({}, 3), ({"a": int}, 0)])
def test_nothing_to_measure_is_refused(calls, rounds):
    with pytest.raises(ConfigurationError, match="at least one round"):
        time_interleaved(calls, rounds)


def test_example_pair_is_deterministic_and_has_structure():
    ir, vis = example_pair(48, 64)
    again = example_pair(48, 64)
    assert ir.shape == (48, 64, 1) and vis.shape == (48, 64, 3)
    np.testing.assert_array_equal(vis, again[1])
    assert ir.std() > 10 and vis.std() > 10


def test_the_stages_are_calls_of_the_fusion(zoo):
    pytest.importorskip("onnxruntime")
    from irvis_fusion_core import RealtimeFusion

    ir, vis = example_pair(20, 24)
    with RealtimeFusion("nano", "onnxruntime", threads=1, thermal=None) as fusion:
        calls = stage_calls(fusion, ir, vis)
        np.testing.assert_array_equal(calls["engine"](), calls["fuse_frame"]())
        np.testing.assert_array_equal(calls["swap"](), vis)
        assert list(calls) == ["frames", "engine", "swap", "fuse_frame"]


def test_machine_names_the_processor_and_its_cores():
    facts = machine()
    assert facts["processor"] and facts["python"]
    assert facts["cores"] == str(usable_cores())
    assert 1 <= usable_cores() <= os.cpu_count()
