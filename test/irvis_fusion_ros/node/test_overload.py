"""`on_overrun: auto`, with a camera and an engine in steered time."""

import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_builders import from_array, serialized

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.node import frame_path
from irvis_fusion_ros.node.engine_state import FAILED, READY, EngineState
from irvis_fusion_ros.node.frame_output import FrameOutput, Publishers
from irvis_fusion_ros.node.overload import Overload
from irvis_fusion_ros.node.worker import Mailbox
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.message_checks import MessageChecks
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser

MS = 1_000_000
START_NS = 1_000_000 * MS
FUSED_PIXEL = 200


class Engine:
    """Gives a bright image."""

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        return np.full_like(vis, FUSED_PIXEL)

    def warm_up(self, height, width):
        """Prepare nothing."""


class Road:
    """The parts of the node between the cameras and the fused topic; time goes in milliseconds."""

    def __init__(self, monkeypatch, **changes):
        self.now_ms, self.engine_ms, self.events, self.out = 0, 10, [], []
        self._delivery, self._until_ms = None, 0
        self.results = 0  # fused images that the engine gave
        steady = types.SimpleNamespace(
            monotonic_ns=lambda: self.now_ms * MS, monotonic=lambda: self.now_ms / 1e3
        )
        monkeypatch.setattr(frame_path, "time", steady)
        monkeypatch.setattr("irvis_fusion_core.streams.health.time", steady)
        topic = types.SimpleNamespace(publish=self._publish, get_subscription_count=lambda: 1)
        self.live = LiveSettings(Settings.of({"ir_frozen_after_s": 0.0, **changes}))

        def note(kind, text):
            self.events.append((kind, text))

        def now_ns():
            return START_NS + self.now_ms * MS

        self.output = FrameOutput(Publishers(topic, topic, None, self.live, note), self.live, note)
        self.overload = Overload(self.live, note, steady.monotonic)
        self.state = EngineState(lambda name, reason: None)
        self.state.set(READY)
        self.intake = frame_path.FramePath(
            self.live,
            MessageChecks(note, now_ns),
            self.output,
            self.overload,
            CurrentStages(self.live.current),
            self.state,
            open_engine=None,
            note=note,
            now_ns=now_ns,
            on_latencies=lambda latencies: None,
            on_waiting=lambda: None,
        )
        self.mailbox = self.intake.worker.mailbox = Mailbox(0.5, clock_s=steady.monotonic)
        self.fuser = PairFuser(Engine())
        self.fuser.warm_up((8, 8))
        self.stamps = {}

    def _publish(self, raw):
        stamp = SerializedImage(raw).header.stamp
        sent_ms = (stamp.sec * 1000 + stamp.nanosec // MS) - START_NS // MS
        self.out.append((self.now_ms, sent_ms, SerializedImage(raw).data[0] == FUSED_PIXEL))

    def send(self, ir=True):
        """Let both cameras publish a frame."""
        ns = START_NS + self.now_ms * MS
        stamp = types.SimpleNamespace(sec=ns // 10**9, nanosec=ns % 10**9)
        for encoding, shape in (("mono8", (8, 8)), ("rgb8", (8, 8, 3)))[not ir :]:
            message = from_array(encoding, np.full(shape, self.now_ms % 100, np.uint8))
            message.header.stamp = stamp
            take = self.intake.add_ir if encoding == "mono8" else self.intake.add_vis
            take(serialized(message))

    def tick(self):
        """Let a millisecond pass, in which the worker may finish a frame and begin another."""
        self.now_ms += 1
        if self._delivery is not None and self.now_ms >= self._until_ms:
            self.intake.process(self.fuser, self._delivery)
            self.results += self._delivery.job.ir is not None
            self.mailbox.done()
            self._delivery = None
        if self._delivery is None and self.state.state == READY:
            self._delivery = self.mailbox.take(0.0)
            slow = self._delivery is not None and self._delivery.job.ir is not None
            self._until_ms = self.now_ms + (self.engine_ms if slow else 0)

    def run(self, seconds, period_ms=33, **options):
        """Play for a while; return what came out meanwhile: (published, sent, is fused)."""
        before, end_ms = len(self.out), self.now_ms + round(1e3 * seconds)
        while self.now_ms < end_ms:
            if self.now_ms % period_ms == 0:
                self.send(**options)
            self.tick()
        return self.out[before:]

    def counts(self):
        return self.output.outcomes.counts()

    def check_account(self):
        """Every frame has one outcome or is on its way; what was published came in order."""
        counts = self.counts()
        assert sum(counts.values()) + self.output.on_their_way == self.output.arrivals
        published = sum(n for what, n in counts.items() if not what.startswith("dropped"))
        sent = [sent_ms for _, sent_ms, _ in self.out]
        assert sent == sorted(set(sent)) and len(sent) == published


@pytest.fixture
def road(monkeypatch):
    road = Road(monkeypatch)
    yield road
    road.check_account()


def test_at_overload_fused_frames_come_alone_and_evenly_until_it_fits_again(road):
    road.engine_ms = 50
    first = road.run(1.9)
    assert [sent for _, sent, _ in first] == [33 * i for i in range(len(first))]
    assert not all(fused for *_, fused in first)
    road.run(2.5)
    only_fused = road.run(10.0)
    assert all(fused for *_, fused in only_fused)
    published = np.array([at for at, *_ in only_fused])
    assert set(np.diff(published)) == {50} and len(only_fused) == 200  # the engine's own rate
    assert max(at - sent for at, sent, _ in only_fused) <= 50 + 33
    (text,) = [text for kind, text in road.events if kind == "overload"]
    assert "take a smaller model, another precision" in text
    assert set(road.counts()) == {"fused", "passed: overrun", "dropped: overrun"}
    road.run(5.2, period_ms=66)
    dropped = road.counts()["dropped: overrun"]
    road.run(5.2, period_ms=66)
    assert not road.overload.only_fused and road.counts()["dropped: overrun"] == dropped
    road.engine_ms = 100
    late = road.run(0.5)
    assert not all(fused for *_, fused in late)  # a few frames pass again


@pytest.mark.parametrize("engine_ms", [20, 33, 40])
def test_an_engine_that_nearly_keeps_up_drops_nothing(road, engine_ms):
    road.engine_ms = engine_ms
    road.run(12.0)
    assert "dropped: overrun" not in road.counts() and not road.events


def test_rare_stalls_of_the_engine_are_no_overload(road):
    for _ in range(6):
        road.engine_ms = 10
        road.run(2.8)
        road.engine_ms = 300
        road.run(0.2)
    assert road.counts()["passed: overrun"] >= 6 * 6
    assert "dropped: overrun" not in road.counts() and not road.events


@pytest.mark.parametrize(
    "policy, present, absent",
    [("passthrough", "passed: overrun", "dropped"), ("drop", "dropped: overrun", "passed")],
)
def test_the_other_policies_hold_from_the_first_frame_to_the_last(
    monkeypatch, policy, present, absent
):
    road = Road(monkeypatch, on_overrun=policy)
    road.engine_ms = 100
    road.run(8.0)
    assert set(road.counts()) == {"fused", present}
    assert not any(outcome.startswith(absent) for outcome in road.counts()) and not road.events
    road.check_account()


def test_an_engine_that_hangs_at_overload_leaves_the_visible_image_at_once(road):
    road.engine_ms = 50
    road.run(8.0)
    assert road.overload.only_fused
    road.engine_ms = math.inf
    hanging = road.run(3.0)
    silent_ms = np.diff([at for at, *_ in hanging])
    assert silent_ms.max() <= 500 + 33  # the patience, and the frame that finds it over
    after = [sent for at, sent, _ in hanging if at > hanging[0][0] + 700]
    assert set(np.diff(after)) == {33}  # every frame
    assert not road.overload.only_fused
    road._until_ms, road.engine_ms = road.now_ms, 50  # it returns
    returned = road.run(1.0)
    assert any(fused for *_, fused in returned) and not all(fused for *_, fused in returned)
    assert road.output.late_results == 1


def test_an_engine_that_fails_at_overload_leaves_the_visible_image_at_once(road):
    road.engine_ms = 50
    road.run(8.0)
    assert road.overload.only_fused
    road.intake.failed(road._delivery, RuntimeError("device lost"))
    assert not road.overload.drops
    road._delivery = None
    road.mailbox.done()
    road.run(8.0)
    assert road.overload.only_fused
    road.state.set(FAILED)
    failed = road.run(1.0)
    assert set(np.diff([sent for _, sent, _ in failed[3:]])) == {33}
    assert not road.overload.only_fused


def test_without_a_thermal_camera_every_visible_frame_comes_though_there_was_an_overload(road):
    road.engine_ms = 50
    road.run(8.0)
    road.run(0.5, ir=False)  # the last thermal frame is old now
    alone = road.run(9.0, ir=False)
    assert set(np.diff([sent for _, sent, _ in alone])) == {33}
    assert not road.overload.only_fused


def test_a_change_of_the_parameter_holds_at_once(road):
    road.engine_ms = 50
    road.run(8.0)
    dropped = road.counts()["dropped: overrun"]
    road.live.current = road.live.current.changed({"on_overrun": "passthrough"})
    road.run(3.0)
    assert road.counts()["dropped: overrun"] == dropped
    assert not road.overload.only_fused


def test_nothing_of_an_overload_is_left_when_the_cameras_are_subscribed_to_again(road):
    road.engine_ms = 50
    road.run(8.0)
    assert road.overload.only_fused
    road.intake.clear("unsubscribed")
    assert not road.overload.only_fused
    dropped = road.counts()["dropped: overrun"]
    road.run(1.9)
    assert road.counts()["dropped: overrun"] == dropped


STEPS = st.lists(
    st.tuples(st.integers(5, 99), st.sampled_from([8, 25, 40, 50, 90, 200, 700])), max_size=6
)


@settings(max_examples=25)
@given(STEPS, st.sampled_from(["auto", "passthrough", "drop"]))
def test_no_fused_frame_is_withheld_and_every_frame_is_counted(steps, policy):
    with pytest.MonkeyPatch.context() as monkeypatch:
        road = Road(monkeypatch, on_overrun=policy)
        for count, road.engine_ms in steps:
            road.run(count * 33e-3)
        road.check_account()
        fused = sum(is_fused for *_, is_fused in road.out)
        assert road.results == fused + road.output.late_results
        assert road.output.late_results <= road.mailbox.given_up_count
        assert road.counts().get("dropped: late", 0) == 0
        if policy == "passthrough":
            assert not any(outcome.startswith("dropped") for outcome in road.counts())


# --- the switch alone


def switched(pattern, on_overrun="auto"):
    """Return the times at which `only_fused` changes; `pattern` is (seconds since, overran)."""
    now_s, changes, told = [0.0], [], []
    live = LiveSettings(Settings.of({"on_overrun": on_overrun}))
    overload = Overload(live, lambda kind, text: told.append(kind), lambda: now_s[0])
    for wait_s, overran in pattern:
        now_s[0] += wait_s
        before = overload.only_fused
        overload.count(overran)
        if overload.only_fused != before:
            changes.append((now_s[0], overload.only_fused))
    assert len(told) == sum(on for _, on in changes)
    return changes


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.booleans()), max_size=400))
def test_it_never_switches_faster_than_its_periods_and_only_with_a_share_to_show(pattern):
    """The reference: the shares, counted again over what lies between two changes."""
    times = np.cumsum([wait_s for wait_s, _ in pattern])
    overran = np.array([each for _, each in pattern], bool)
    begin_s = times[0] if pattern else 0.0
    for at_s, on in switched(pattern):
        assert at_s - begin_s >= (2.0 if on else 5.0) - 1e-6
        within = overran[(times >= begin_s - 1e-9) & (times <= at_s + 1e-9)]
        assert len(within) >= 8
        assert within.any() if on else not within.all()
        begin_s = at_s
    assert not switched(pattern, "passthrough") and not switched(pattern, "drop")


@given(st.integers(2, 20), st.floats(10.0, 60.0))
def test_a_steady_share_leads_to_one_mode_which_lasts(one_in, rate_hz):
    frames = int(20 * rate_hz)
    steady = [(1 / rate_hz, i % one_in == 0) for i in range(frames)]
    calm, heavy = ([(1 / rate_hz, overran)] * frames for overran in (False, True))
    changes = switched(steady)
    assert len(changes) <= (one_in <= 5)
    if one_in <= 3:
        ((at_s, _),) = changes
        assert at_s <= 2.0 + 2 / rate_hz + 1e-6
        (_, on), (back_s, off) = switched(steady + calm)
        assert on and not off and back_s <= frames / rate_hz + 2 * (5.0 + 2 / rate_hz)
    if not 8 <= one_in <= 14:  # near the share that fits, chance decides
        assert len(switched(heavy + steady)) == (1 if one_in < 8 else 2)
