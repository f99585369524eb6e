"""What the benchmark of the node makes of what its processes saw, against sums done by hand."""

import numpy as np
import pytest

from benchmarks.node_latency import (
    Run,
    make_run,
    own_cost_inside,
    own_cost_outside,
    together,
    verdict,
    whereabouts,
)

MS = 1_000_000
HOPS_MS = 4.7
"""From the stamp to the node's reception, and from the consumer's to its callback."""
TAKING_MS, PUBLISHING_MS = 0.7, 0.8


def run(latency_ms, debug=None, **changes):
    """A run of 100 frames that all took the same."""
    values = {
        "sent": 100,
        "latencies_ms": [latency_ms] * 100,
        "residences_ms": [latency_ms - HOPS_MS] * 100,
        "lost": 0,
        "twice": 0,
        "disordered": 0,
        "debug": debug or {},
        "cpu_s": 1.0,
        "executor_s": 0.5,
        "counted": {},
    }
    return Run(**{**values, **changes})


RELAY = run(HOPS_MS + TAKING_MS + PUBLISHING_MS, {"relay_publish_ms": [PUBLISHING_MS] * 100})


def node(latency_ms=17.7, wait_ms=0.3, node_ms=2.0, engine_ms=10.0, **changes):
    debug = {"wait_ms": wait_ms, "node_ms": node_ms, "engine_ms": engine_ms}
    return run(latency_ms, {name: [value] * 100 for name, value in debug.items()}, **changes)


def test_lost_double_and_disordered_frames_are_told_apart():
    camera = {"warm_up": [1 * MS, 2 * MS], "sent": [3 * MS, 4 * MS, 5 * MS, 6 * MS]}
    camera.update(cpu_s=2.5, executor_s=1.5)
    arrivals = [(1, 8, 9), (3, 3, 4), (5, 4, 5), (4, 5, 6), (4, 6, 7)]
    consumer = {
        "arrivals": [[stamp * MS, (stamp + r) * MS, (stamp + c) * MS] for stamp, r, c in arrivals],
        "observed": [[s * MS, (s + 1) * MS, s * MS + 1_500_000] for s in (1, 2, 3, 4, 5)],
        "debug": {"engine_ms": [[2 * MS, 99.0], [4 * MS, 8.0]]},
        "counted": {"published": 6},
    }
    found = make_run(camera, consumer)
    assert (found.sent, found.lost, found.twice, found.disordered) == (4, 2, 1, 1)
    assert found.latencies_ms == [4.0, 6.0, 5.0]
    assert found.residences_ms == [2.0, 4.0, 3.0]  # received, less when the observer received
    assert found.debug == {"engine_ms": [8.0]}  # the warm-up's is left out
    assert found.cpu_s == 2.5 and found.cpu_ms == 625.0


def test_it_tells_on_which_side_of_the_node_frames_were_lost():
    counted = {"published": 20, "frames fused": 8, "frames passed: overrun": 6}
    counted.update({"frames passed: ir_stale": 1, "frames dropped: fault": 2})
    counted.update({"lost: reader queue": 2, "lost: middleware": 1})
    one = run(1.0, lost=6, counted=counted)  # 3 before it, 2 in it, so 1 behind it
    assert whereabouts(together([one, one])) == (
        "of 40 visible frames, warm-up included, 6 did not reach the node, it dropped 4, and let "
        "30 out; 2 did not reach the consumer after that"
    )


def test_without_diagnostics_it_names_no_counts():
    assert "no diagnostics" in whereabouts(run(1.0, lost=2))


def test_both_views_of_the_own_cost_are_of_the_same_thing():
    own_ms, engine_ms = 2.3, 10.0
    seen = node(latency_ms=HOPS_MS + TAKING_MS + own_ms + engine_ms)
    assert own_cost_inside(seen) == pytest.approx([own_ms] * 100)
    assert own_cost_outside(seen, RELAY) == pytest.approx(own_ms)


def test_outside_takes_off_each_frame_its_own_engine_time():
    engines_ms = np.linspace(8.0, 40.0, 100) ** 1.2  # skewed: medians would not add up
    seen = node(latency_ms=0.0)
    own_ms = np.where(np.arange(100) % 2, 2.0, 2.6)
    residences_ms = list(TAKING_MS + own_ms + engines_ms)
    debug = {**seen.debug, "engine_ms": list(engines_ms)}
    seen = seen._replace(residences_ms=residences_ms, debug=debug)
    assert own_cost_outside(seen, RELAY) == pytest.approx(2.3)


def test_the_relay_before_and_after_is_one_run():
    both = together([RELAY, RELAY])
    assert both.sent == 200 and len(both.latencies_ms) == len(both.residences_ms) == 200
    assert len(both.debug["relay_publish_ms"]) == 200 and both.cpu_s == 2.0


@pytest.mark.parametrize(
    "changes, failing",
    [
        ({}, []),
        ({"lost": 1}, [0]),
        ({"twice": 1}, [0]),
        ({"disordered": 1}, [0]),
        ({"latency_ms": 44.0}, [1, 3, 4]),  # 34 ms beyond the engine's 10, limit 33.3
        ({"node_ms": 3.0, "latency_ms": 18.7}, [2, 3]),
        ({"latency_ms": 16.2}, [4]),
    ],
)
def test_verdict_holds_each_promise_against_its_limit(changes, failing):
    checks = verdict(node(**changes), RELAY, 30.0)
    assert [number for number, check in enumerate(checks) if not check.holds] == failing
