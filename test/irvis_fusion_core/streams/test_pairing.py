"""Pairing against a second implementation: the stable matching of whole, sorted streams."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams import pairing, pairing_policy
from irvis_fusion_core.streams.pairing import LatestIr, PairNearest, make_pairing

MS = 1_000_000
S = 1_000_000_000


def feed(policy, events):
    """Send (arrival, stream, stamp, item) in order of arrival; return all outcomes, none left."""
    out = []
    for _, stream, stamp, item in sorted(events, key=lambda event: event[0]):
        add = policy.add_ir if stream == "ir" else policy.add_vis
        out += add(stamp, item)
    return out + policy.clear("end")


def events_of(stream, stamps, delay=0):
    return [(stamp + delay, stream, stamp, (stream, i)) for i, stamp in enumerate(stamps)]


def stable_matching(vis_stamps, ir_stamps, slop):
    """Reference: all pairs within the slop, nearest first, each frame once."""
    candidates = sorted(
        (abs(v - i), v, i)
        for v, i in itertools.product(vis_stamps, ir_stamps)
        if abs(v - i) <= slop
    )
    matched, taken = {}, set()
    for _, v, i in candidates:
        if v not in matched and i not in taken:
            matched[v] = i
            taken.add(i)
    return matched


def camera(start, period, count, jitters):
    """Stamps whose intervals stay within 0.7 to 1.3 periods."""
    return [start + n * period + int(0.15 * period * j) for n, j in zip(range(count), jitters)]


jitter_lists = st.lists(st.floats(-1, 1), min_size=40, max_size=40)


@settings(max_examples=80, deadline=None)
@given(
    vis_period=st.integers(20, 120),
    ir_period=st.integers(20, 120),
    phase=st.integers(0, 119),
    slop=st.integers(5, 60),
    vis_jitters=jitter_lists,
    ir_jitters=jitter_lists,
    ir_delay=st.integers(0, 100),
)
@example(  # the nearest thermal frame of frame 36 belongs to frame 37, and the second is free
    vis_period=66,
    ir_period=57,
    phase=118,
    slop=31,
    vis_jitters=[0.0] * 35 + [0.5, -1.0] + [0.0] * 3,
    ir_jitters=[0.0] * 40,
    ir_delay=0,
)
def test_pair_is_the_stable_matching_of_both_streams(
    vis_period, ir_period, phase, slop, vis_jitters, ir_jitters, ir_delay
):
    vis = camera(S, vis_period * MS, 40, vis_jitters)
    ir = camera(S + phase * MS, ir_period * MS, 40, ir_jitters)
    policy = PairNearest(slop_s=slop / 1000, depth=200)
    events = events_of("vis", vis) + events_of("ir", ir, delay=ir_delay * MS)

    outcomes = feed(policy, events)

    assert [o.vis_stamp_ns for o in outcomes] == vis
    got = {o.vis_stamp_ns: o.ir_stamp_ns for o in outcomes if o.paired}
    assert got == stable_matching(vis, ir, slop * MS)


@settings(max_examples=80, deadline=None)
@given(
    vis_period=st.integers(20, 120),
    ir_period=st.integers(20, 120),
    max_age=st.integers(20, 400),
    ir_delay=st.integers(0, 100),
    ir_jitters=jitter_lists,
)
def test_latest_ir_gives_each_visible_frame_the_nearest_that_has_arrived(
    vis_period, ir_period, max_age, ir_delay, ir_jitters
):
    vis = [S + n * vis_period * MS for n in range(40)]
    ir = camera(S, ir_period * MS, 40, ir_jitters)
    policy = LatestIr(max_ir_age_s=max_age / 1000, depth=50)
    events = events_of("ir", ir, delay=ir_delay * MS) + events_of("vis", vis)

    outcomes = feed(policy, events)

    assert [o.vis_stamp_ns for o in outcomes] == vis
    for outcome in outcomes:
        v = outcome.vis_stamp_ns
        arrived = [i for i in ir if i + ir_delay * MS <= v]
        skews = sorted(abs(i - v) for i in arrived)
        fresh = bool(skews) and skews[0] <= max_age * MS
        assert outcome.paired == fresh
        if fresh:
            assert abs(outcome.ir_stamp_ns - v) == skews[0]
            assert outcome.skew_s == pytest.approx((outcome.ir_stamp_ns - v) / S)


stamps = st.one_of(
    st.integers(0, 50).map(lambda n: n * 10 * MS),
    st.integers(-2, 2),
    st.integers(0, 2**62),
)
messages = st.lists(
    st.tuples(st.sampled_from(["ir", "vis", "expire", "clear"]), stamps), max_size=80
)


@settings(max_examples=150, deadline=None)
@given(
    messages=messages,
    depth=st.integers(1, 6),
    offset=st.floats(-0.5, 0.5),
    policy_name=st.sampled_from(pairing.POLICIES),
    tell_now=st.booleans(),
)
def test_any_stamps_lose_no_visible_frame_and_stay_bounded(
    messages, depth, offset, policy_name, tell_now
):
    policy = make_pairing(
        policy_name, slop_s=0.05, max_ir_age_s=0.3, ir_time_offset_s=offset, depth=depth
    )
    limit = 0.05 if policy_name == "pair" else 0.3
    sent, out, used = [], [], []
    for n, (what, stamp) in enumerate(messages):
        now = n * 20 * MS if tell_now else None
        if what == "ir":
            out += policy.add_ir(stamp, ("ir", n), now)
        elif what == "vis":
            sent.append(("vis", n))
            out += policy.add_vis(stamp, ("vis", n), now)
        elif what == "expire":
            out += policy.expire(n * 20 * MS)
        else:
            out += policy.clear("test")
        assert policy.held_ir <= depth
        assert policy.pending <= depth
        released = sum(v for k, v in policy.counters.items() if k.startswith("vis_only."))
        released += policy.counters.get("paired", 0)
        assert released == len(out)
        assert policy.counters.get("vis_in", 0) == released + policy.pending
    out += policy.clear("end")

    assert [o.vis for o in out] == sent
    for outcome in out:
        if outcome.paired:
            assert abs(outcome.skew_s) <= limit + 1e-9
            assert outcome.ir_stamp_ns > 0
            used.append(outcome.ir)
        else:
            assert outcome.ir is None and outcome.ir_stamp_ns is None
    if policy_name == "pair":
        assert len(used) == len(set(used))
        dropped = sum(v for k, v in policy.counters.items() if k.startswith("ir_dropped."))
        assert policy.counters.get("ir_in", 0) == len(used) + dropped


def bag_stamps(seconds=20, start=100 * S):
    vis = [start + n * S // 30 for n in range(30 * seconds)]
    ir = [start + 4 * MS + n * S // 9 for n in range(9 * seconds)]
    return vis, ir


@pytest.mark.parametrize("ir_delay_ms", [0, 45])
@pytest.mark.parametrize("policy_name, pairs_a_loop", [("pair", 180), ("latest_ir", 600)])
def test_three_loops_of_a_bag_give_the_same_pairs(policy_name, pairs_a_loop, ir_delay_ms):
    """The stock Python synchroniser gave 180, 4 and 127 pairs here (20 s at 30/9 Hz)."""
    vis, ir = bag_stamps()
    one = events_of("vis", vis) + events_of("ir", ir, delay=ir_delay_ms * MS)
    loops = [
        (arrival + loop * 20 * S, stream, stamp, (loop, stream))
        for loop in range(3)
        for arrival, stream, stamp, _ in one
    ]
    policy = make_pairing(policy_name, max_ir_age_s=0.3, slop_s=0.05)

    outcomes = feed(policy, loops)

    assert len(outcomes) == 3 * len(vis)
    by_loop = [sum(o.paired for o in outcomes if o.vis[0] == loop) for loop in range(3)]
    if ir_delay_ms == 0:
        # latest_ir: the very first visible frame comes before the first thermal one
        assert by_loop == [pairs_a_loop - (policy_name == "latest_ir")] * 3
    else:
        # the last thermal frame of a loop may arrive when the next has begun
        assert by_loop[0] >= pairs_a_loop - 2 and by_loop == [by_loop[0]] * 3
    assert all(o.vis[0] == o.ir[0] for o in outcomes if o.paired), "a pair across loops"


@pytest.mark.parametrize("first", ["ir", "vis"])
def test_a_loop_begun_by_either_stream_keeps_what_has_already_jumped(first):
    policy = PairNearest(slop_s=0.05)
    for n in range(100):
        policy.add_ir(100 * S + n * 100 * MS, "old")
        policy.add_vis(100 * S + n * 100 * MS + 5 * MS, "old")
    if first == "ir":
        out = policy.add_ir(100 * S, "new") + policy.add_vis(100 * S + 5 * MS, "new")
    else:
        out = policy.add_vis(100 * S + 5 * MS, "new") + policy.add_ir(100 * S, "new")
    out += policy.clear("end")
    new = [o for o in out if o.vis == "new"]
    assert [(o.ir, o.reason) for o in new] == [("new", "paired")]


def test_when_the_thermal_stream_loops_first_what_waits_leaves_with_its_own_loop():
    policy = PairNearest(slop_s=0.05)
    policy.add_vis(100 * S, "old")
    policy.add_ir(100 * S + 30 * MS, "old")  # a visible frame nearer to it may still come
    assert policy.pending == 1
    (pair,) = policy.add_ir(50 * S, "new")
    assert (pair.vis, pair.ir) == ("old", "old")
    assert (policy.held_ir, policy.counters["cleared.ir_stamp_back"]) == (1, 1)


@pytest.mark.parametrize("policy_name", pairing.POLICIES)
def test_a_thermal_camera_that_dies_in_one_loop_is_not_found_again_in_the_next(policy_name):
    policy = make_pairing(policy_name)
    vis = [100 * S + n * 33 * MS for n in range(60)]
    out = []
    for loop in range(2):
        for stamp in vis:
            if loop == 0:
                out += policy.add_ir(stamp - MS, loop)
            out += policy.add_vis(stamp, loop)
    out += policy.clear("end")
    assert [o.paired for o in out] == [True] * 60 + [False] * 60


def test_a_live_pair_at_30_over_9_hz_leaves_at_once():
    """A visible frame that follows its thermal frame must not wait for the next, 111 ms away."""
    policy = PairNearest(slop_s=0.05)
    policy.add_ir(S, "a")
    policy.add_ir(S + 111 * MS, "b")
    policy.add_vis(S + 90 * MS, "before")
    outcomes = policy.add_vis(S + 115 * MS, "after")
    assert [(o.vis, o.ir) for o in outcomes] == [("before", None), ("after", "b")]


def test_a_dead_thermal_camera_holds_a_frame_no_longer_than_max_wait():
    policy = PairNearest(slop_s=0.05, max_wait_s=0.1)
    assert policy.add_vis(S, "a", 0) == []
    assert policy.expire(99 * MS) == []
    (alone,) = policy.expire(100 * MS)
    assert (alone.vis, alone.reason, alone.skew_s) == ("a", pairing.NO_IR, None)


def test_an_ended_wait_takes_the_partner_at_hand():
    policy = PairNearest(slop_s=0.05, max_wait_s=0.1)
    policy.add_vis(S, "a", 0)
    policy.add_ir(S + 30 * MS, "near", 40 * MS)  # a visible frame nearer to it may still come
    (pair,) = policy.expire(150 * MS)
    assert (pair.ir, pair.reason) == ("near", "paired")


def test_frames_without_arrival_time_wait_from_the_first_expire():
    policy = PairNearest(max_wait_s=0.1)
    policy.add_vis(S, "a")
    assert policy.expire(5 * S) == []
    assert [o.vis for o in policy.expire(5 * S + 100 * MS)] == ["a"]


def test_a_later_thermal_frame_proves_that_no_partner_comes():
    policy = PairNearest(slop_s=0.05)
    policy.add_ir(S - 200 * MS, "too old")
    assert policy.add_vis(S, "a") == []
    (alone,) = policy.add_ir(S + 60 * MS, "too late")
    assert (alone.reason, alone.skew_s) == (pairing.NO_PARTNER, pytest.approx(0.06))


def test_offset_is_added_to_thermal_stamps():
    late_by_300_ms = LatestIr(max_ir_age_s=0.05, ir_time_offset_s=-0.3)
    late_by_300_ms.add_ir(S + 310 * MS, "x")
    (pair,) = late_by_300_ms.add_vis(S, "v")
    assert pair.ir == "x" and pair.skew_s == pytest.approx(0.01)
    assert pair.ir_stamp_ns == S + 310 * MS, "the message's own stamp"


def test_zero_stamps_are_named_and_counted():
    for policy in (LatestIr(), PairNearest()):
        policy.add_ir(0, "x")
        (alone,) = policy.add_vis(0, "v")
        assert alone.reason == pairing.ZERO_STAMP
        assert policy.counters["ir_dropped.zero_stamp"] == 1
        assert policy.counters["vis_only.zero_stamp"] == 1


@pytest.mark.parametrize("stream", ["ir", "vis"])
@pytest.mark.parametrize("policy_name", pairing.POLICIES)
def test_one_stamp_from_the_future_costs_no_more_than_its_neighbours(policy_name, stream):
    policy = make_pairing(policy_name)
    stamps_ = [S + n * 100 * MS for n in range(30)]
    events = events_of("ir", stamps_) + [
        (a + MS, s, t + MS, i) for a, s, t, i in events_of("vis", stamps_)
    ]
    events.append((stamps_[15] + 50 * MS, stream, 10**9 * S, "future"))
    outcomes = [o for o in feed(policy, events) if o.vis != "future"]
    assert len(outcomes) == 30
    assert sum(o.paired for o in outcomes) >= 28
    assert all(o.paired for o in outcomes[18:])


def test_latest_ir_says_why_not():
    policy = LatestIr(max_ir_age_s=0.3)
    assert policy.add_vis(S, "v")[0].reason == pairing.NO_IR
    policy.add_ir(S, "x")
    too_old = policy.add_vis(S + 301 * MS, "v")[0]
    assert (too_old.reason, too_old.skew_s) == (pairing_policy.IR_TOO_OLD, pytest.approx(-0.301))
    policy.clear("clock_jump")
    policy.add_ir(2 * S, "x")
    assert policy.add_vis(2 * S - 301 * MS, "v")[0].reason == pairing_policy.IR_AHEAD
    assert policy.counters["cleared.clock_jump"] == 1
    assert policy.counters["ir_dropped.cleared"] == 1


def test_repeated_thermal_stamps_are_used_once():
    policy = PairNearest(slop_s=0.05)
    out = []
    for n in range(10):
        out += policy.add_ir(S + n * 100 * MS, n)
        out += policy.add_vis(S + n * 100 * MS, n)
        out += policy.add_ir(S + n * 100 * MS, "repeat")
    assert [o.ir for o in out if o.paired] == list(range(len(out)))
    assert policy.counters["ir_dropped.duplicate_stamp"] == 10


@pytest.mark.parametrize(
    "bad",
    [
        {"policy": "message_filters"},
        {"policy": "pair", "slop_s": 0},
        {"policy": "pair", "slop_s": float("nan")},
        {"policy": "pair", "max_wait_s": -1},
        {"policy": "latest_ir", "max_ir_age_s": float("inf")},
        {"policy": "latest_ir", "ir_time_offset_s": float("inf")},
        {"policy": "latest_ir", "depth": 0},
        {"policy": "pair", "depth": 2.5},
    ],
)
def test_values_out_of_range_are_refused_by_name(bad):
    with pytest.raises(ConfigurationError, match="|".join(bad)):
        make_pairing(**bad)
