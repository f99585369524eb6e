"""The intake's verdicts and reasons, and the processor's outcomes, with plain objects around."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_builders import from_array

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node import frame_intake
from irvis_fusion_ros.node.frame_processor import (
    UNUSABLE_PAIR,
    FrameProcessor,
    IrFrame,
    Job,
    Outputs,
)
from irvis_fusion_ros.node.worker import READY, Delivery
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.frame_decision import FrameDecider, ThermalItem

START_S = 1000
NS = 1_000_000_000


class Topic:
    """A publisher that keeps what it was given; `subscribers` listen."""

    def __init__(self, subscribers=1):
        self.messages = []
        self._subscribers = subscribers

    def publish(self, message):
        self.messages.append(message)

    def get_subscription_count(self):
        return self._subscribers


class Clock:
    """Steady time in the intake's place; the node's clock follows it."""

    def __init__(self, monkeypatch):
        self.elapsed_ns = 0
        steady = types.SimpleNamespace(
            monotonic_ns=lambda: self.elapsed_ns, monotonic=lambda: self.elapsed_ns / NS
        )
        monkeypatch.setattr(frame_intake, "time", steady)
        monkeypatch.setattr("irvis_fusion_core.streams.health.time", steady)

    def now(self):
        return types.SimpleNamespace(nanoseconds=START_S * NS + self.elapsed_ns)


class Bench:
    """An intake whose jobs are collected."""

    def __init__(self, monkeypatch, **changes):
        self.clock, self.events, self.jobs = Clock(monkeypatch), [], []
        self.accepts, self.waiting, self.passed = True, [], []
        worker = types.SimpleNamespace(
            state=READY,
            accepts=lambda now_s: self.accepts,
            submit=self._submit,
            abandon=self._abandon,
            mailbox=types.SimpleNamespace(is_full=False),
        )
        processor = types.SimpleNamespace(
            drop=self.events.append,
            forget=lambda: None,
            pass_through=lambda job, reason: self.passed.append((job.number, reason)),
            pass_by=lambda job, reason: self.passed.append((job.number, reason)),
        )
        self.intake = frame_intake.FrameIntake(
            LiveSettings(Settings.of(changes)),
            processor,
            worker,
            lambda kind, text: self.events.append(kind),
            self.clock.now,
        )
        self._count = 0

    def _submit(self, job, size_bytes, hold):
        assert size_bytes == len(job.vis.data) > 0
        self.jobs.append(job)
        self.waiting.append(job)

    def _abandon(self):
        waiting, self.waiting = self.waiting, []
        return waiting

    def message(self, encoding, stamped=True):
        self._count += 1
        kind = np.float32 if encoding == "32FC1" else np.uint8
        shape = (16, 16, 3) if encoding == "rgb8" else (16, 16)
        message = from_array(encoding, np.full(shape, self._count, kind))
        ns = self.clock.now().nanoseconds if stamped else 0
        message.header.stamp = types.SimpleNamespace(sec=ns // NS, nanosec=ns % NS)
        return message

    def run(self, seconds, ir=True, vis=True, stamped=True):
        for _ in range(round(seconds * 20)):
            self.clock.elapsed_ns += NS // 20
            if ir:
                self.intake.add_ir(self.message("mono8"))
            if vis:
                self.intake.add_vis(self.message("rgb8", stamped))


def test_thermal_camera_is_not_blamed_when_the_visible_one_never_came(monkeypatch):
    bench = Bench(monkeypatch)
    assert bench.intake.judge_now().reason == "missing"
    bench.run(1.0, vis=False)
    assert bench.intake.judge_now().usable


def test_thermal_camera_is_not_blamed_when_the_visible_one_died(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(1.0)
    assert bench.intake.judge_now().usable
    bench.run(5.0, vis=False)
    assert bench.intake.judge_now().usable
    bench.run(3.0, ir=False, vis=False)
    assert bench.intake.judge_now().reason == "missing"


def test_unstamped_visible_frames_pass_under_their_own_reason(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(1.0, stamped=False)
    assert len(bench.jobs) == 20
    assert {job.reason for job in bench.jobs} == {"zero_stamp"}
    assert bench.intake.judge_now().usable


def test_temperatures_that_are_not_finite_are_told_and_still_fused(monkeypatch):
    bench = Bench(monkeypatch)
    message = bench.message("32FC1")
    np.frombuffer(message.data, np.float32)[3:5] = np.nan, np.inf
    bench.intake.add_ir(message)
    bench.intake.add_vis(bench.message("rgb8"))
    assert bench.events == ["ir: not_finite"]
    assert bench.jobs[0].ir is not None


def test_hold_ends_after_hold_s(monkeypatch):
    bench = Bench(monkeypatch, on_ir_loss="hold", hold_s=2.0)
    bench.run(1.0)
    bench.jobs.clear()
    bench.run(3.0, ir=False)
    assert len(bench.jobs) == 60
    held = [job.ir is not None for job in bench.jobs]
    assert held == sorted(held, reverse=True) and 2.0 * 20 <= sum(held) <= 2.5 * 20


def test_frames_behind_an_engine_that_hangs_go_out_first_and_those_after_at_once(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.2)
    bench.accepts = False
    bench.run(0.1)
    assert bench.passed == [(number, "engine_stuck") for number in range(1, 7)]
    bench.accepts = True
    bench.run(0.1)
    assert [job.number for job in bench.waiting] == [7, 8]


def test_what_waits_is_published_though_the_visible_camera_has_stopped(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.1)
    bench.intake.relieve()
    assert bench.passed == []
    bench.accepts = False
    bench.intake.relieve()
    assert [number for number, _ in bench.passed] == [1, 2]


def test_a_frame_that_was_not_to_be_fused_keeps_its_own_reason(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.1, ir=False)
    bench.accepts = False
    bench.intake.relieve()
    assert [reason for _, reason in bench.passed] == ["ir_missing", "ir_missing"]


def test_a_fault_at_a_frame_costs_neither_the_image_nor_the_node(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.1)

    def fail(*arguments):
        raise KeyError("x")

    monkeypatch.setattr(bench.intake._pairing, "add_vis", fail)
    bench.run(0.1)
    assert [number for number, _ in bench.passed] == [3, 4]
    assert bench.events == ["fault at a visible frame: KeyError"] * 2


def changed(bench, **values):
    """Change parameters as the node does."""
    live = bench.intake._settings
    new = live.current.changed(values)
    put_to_use = bench.intake.prepare(new)
    live.current = new
    put_to_use()


def test_tuning_does_not_make_a_frozen_camera_count_as_well(monkeypatch):
    bench = Bench(monkeypatch, ir_frozen_after_s=1.0)
    still = bench.message("mono8")
    for _ in range(30):
        bench.clock.elapsed_ns += NS // 20
        ns = bench.clock.now().nanoseconds
        still.header.stamp = types.SimpleNamespace(sec=ns // NS, nanosec=ns % NS)
        bench.intake.add_ir(still)
    assert bench.intake.judge_now().reason == "frozen"
    for values in (
        {"slop_s": 0.02},
        {"on_ir_loss": "hold"},
        {"max_ir_age_s": 0.5},
        {"ir_missing_after_s": 5.0},
    ):
        changed(bench, **values)
        assert bench.intake.judge_now().reason == "frozen", values
    changed(bench, ir_frozen_after_s=5.0)
    assert bench.intake.judge_now().usable
    changed(bench, ir_width=640, ir_height=480)
    assert bench.intake.judge_now().reason == "wrong_size"


def test_prepared_parameters_that_are_not_put_to_use_change_nothing(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.5)
    policy, health = bench.intake._pairing, bench.intake._health
    new = Settings.of({"pairing": "pair", "ir_time_offset_s": 0.1})
    put_to_use = bench.intake.prepare(new)
    assert (bench.intake._pairing, bench.intake._health) == (policy, health)
    assert bench.intake.judge_now().usable
    put_to_use()
    assert bench.intake._pairing.name == "pair" and bench.intake._health is not health


def test_waiting_frames_are_announced_and_only_they(monkeypatch):
    bench = Bench(monkeypatch)
    calls = []
    bench.intake.on_waiting = lambda: calls.append(1)
    bench.run(0.2)
    assert calls == [] and not bench.intake.expire()
    changed(bench, pairing="pair", max_wait_s=0.1)
    bench.run(0.2, ir=False)
    assert calls and bench.intake.expire()
    bench.clock.elapsed_ns += NS
    assert not bench.intake.expire()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["ir", "still", "vis", "expire"])),
        max_size=60,
    ),
    st.fixed_dictionaries(
        {
            "pairing": st.sampled_from(["latest_ir", "pair"]),
            "on_ir_loss": st.sampled_from(["passthrough", "hold", "stop"]),
            "on_unpaired": st.sampled_from(["passthrough", "drop"]),
            "hold_s": st.sampled_from([0.0, 0.3, 2.0]),
            "ir_frozen_after_s": st.sampled_from([0.0, 0.5]),
            "ir_time_offset_s": st.sampled_from([0.0, -0.1]),
        }
    ),
)
def test_node_and_offline_tools_decide_alike(events, values):
    """The second implementation is `frame_decision.FrameDecider`, which bags are fused by."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(monkeypatch, **values)
        decider = FrameDecider(Settings.of(values))
        expected, number = [], 0
        bench.intake._processor.drop = lambda reason: bench.jobs.append(("dropped", reason))
        for wait_ms, kind in events:
            bench.clock.elapsed_ns += wait_ms * 1_000_000 + 1
            now_ns, stamp_ns = bench.clock.elapsed_ns, bench.clock.now().nanoseconds
            if kind == "expire":
                bench.intake.expire()
                expected += decider.expire(now_ns) if decider.pending else []
            elif kind == "vis":
                bench.intake.add_vis(bench.message("rgb8"))
                expected += decider.add_vis(stamp_ns, None, now_ns)
            else:
                bench._count = -1 if kind == "still" else bench._count
                message = bench.message("mono8")
                bench.intake.add_ir(message)
                number += 1
                pixels = np.array(message.data, np.uint8).reshape(16, 16)
                expected += decider.add_ir(ThermalItem(number, stamp_ns, pixels), now_ns)
        assert [outcome(job) for job in bench.jobs] == [(d.action, d.reason) for d in expected]


def outcome(job):
    """Return (action, reason) of a job, or of what was dropped."""
    if len(job) == 2:
        return job
    return ("fused", "fused") if job.ir is not None else ("passed", job.reason)


def processor_of(image, info, compressed, **changes):
    live = LiveSettings(Settings.of(changes))
    outputs = Outputs(image, info, compressed, live)
    outputs.camera_info = types.SimpleNamespace(header=None)
    events = []
    processor = FrameProcessor(
        outputs,
        live,
        lambda latencies: None,
        lambda: 0,
        lambda kind, text: events.append(kind),
    )
    return processor, events


def test_calibration_that_does_not_fit_a_size_is_no_failure_of_the_engine():
    image = Topic()
    processor, events = processor_of(
        image,
        Topic(),
        None,
        **{
            "registration.mode": "homography",
            "registration.calibrated_ir_size": [512, 640],
            "registration.calibrated_vis_size": [480, 640],
        },
    )
    engine = types.SimpleNamespace(warm_up=lambda height, width: None)
    for number in (1, 2):
        vis = from_array("rgb8", np.zeros((480, 640, 3), np.uint8))
        frame = IrFrame(number, NS, np.zeros((100, 640), np.uint8) + np.uint8(number))
        job = Job(number, vis, NS, 0, ir=frame)
        processor.process(engine, Delivery(job, []))
    assert len(image.messages) == 2
    assert processor.last_unfused == "passed: " + UNUSABLE_PAIR
    assert events == ["pair: CalibrationError"]


def test_calibration_goes_with_an_image_that_cannot_be_compressed():
    image, info = Topic(), Topic()
    processor, _ = processor_of(image, info, Topic())
    vis = from_array("32FC1", np.zeros((4, 4), np.float32))
    processor.pass_through(Job(1, vis, NS, 0), "test")
    assert image.messages == [vis]
    assert [message.header for message in info.messages] == [vis.header]
