"""The intake's verdicts and reasons, with plain objects around it."""

import itertools
import types

import numpy as np
import pytest
from message_builders import from_array, serialized

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node import frame_path
from irvis_fusion_ros.node.engine_state import READY, EngineState
from irvis_fusion_ros.node.overload import Overload
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.message_checks import MessageChecks

START_S = 1000
NS = 1_000_000_000


class Clock:
    """Steady time in the intake's place; the node's clock follows it."""

    def __init__(self, monkeypatch):
        self.elapsed_ns = 0
        steady = types.SimpleNamespace(
            monotonic_ns=lambda: self.elapsed_ns, monotonic=lambda: self.elapsed_ns / NS
        )
        monkeypatch.setattr(frame_path, "time", steady)
        monkeypatch.setattr("irvis_fusion_core.streams.health.time", steady)

    def now_ns(self):
        return START_S * NS + self.elapsed_ns


class Bench:
    """An intake whose decisions are collected."""

    def __init__(self, monkeypatch, **changes):
        self.clock, self.events, self.jobs = Clock(monkeypatch), [], []
        self.accepts, self.waiting, self.passed, self.announced = True, [], [], []
        mailbox = types.SimpleNamespace(
            accepts=lambda now_s: self.accepts,
            put=self._submit,
            give_back=self._abandon,
            is_full=False,
        )
        output = types.SimpleNamespace(
            arrived=lambda: next(numbers),
            drop=lambda reason, number: self.events.append(reason),
            pass_through=lambda frame, reason: self.passed.append((frame.number, reason)),
        )
        numbers = itertools.count(1)
        state = EngineState(lambda name, reason: None)
        state.set(READY)

        def note(kind, text):
            self.events.append(kind)

        self.live = LiveSettings(Settings.of(changes))
        self.intake = frame_path.FramePath(
            self.live,
            MessageChecks(note, self.clock.now_ns),
            output,
            Overload(self.live, note),
            CurrentStages(self.live.current),
            state,
            open_engine=None,
            note=note,
            now_ns=self.clock.now_ns,
            on_latencies=lambda latencies: None,
            on_waiting=lambda: self.announced.append(1),
        )
        self.intake.worker.mailbox = mailbox
        self._count = 0

    def change(self, **values):
        """Change parameters as the node does."""
        new = self.live.current.changed(values)
        put_to_use = self.intake.prepare(new)
        self.live.current = new
        put_to_use()

    def _submit(self, decision, size_bytes, hold):
        assert size_bytes == decision.vis.size_bytes > 0
        self.jobs.append(decision)
        self.waiting.append(decision)

    def _abandon(self):
        waiting, self.waiting = self.waiting, []
        return waiting

    def message(self, encoding, stamped=True):
        self._count += 1
        kind = np.float32 if encoding == "32FC1" else np.uint8
        shape = (16, 16, 3) if encoding == "rgb8" else (16, 16)
        message = from_array(encoding, np.full(shape, self._count, kind))
        ns = self.clock.now_ns() if stamped else 0
        message.header.stamp = types.SimpleNamespace(sec=ns // NS, nanosec=ns % NS)
        return serialized(message)

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
    pixels = np.ones((16, 16), np.float32)
    pixels[0, 3:5] = np.nan, np.inf
    message = from_array("32FC1", pixels)
    message.header.stamp = types.SimpleNamespace(sec=START_S, nanosec=0)
    bench.intake.add_ir(serialized(message))
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
    assert [job.vis.number for job in bench.waiting] == [7, 8]


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

    monkeypatch.setattr(bench.intake._decider, "add_vis", fail)
    bench.run(0.1)
    assert [number for number, _ in bench.passed] == [3, 4]
    assert bench.events == ["fault at a visible frame: KeyError"] * 2


def test_a_fault_at_one_frame_does_not_cost_those_released_with_it(monkeypatch):
    bench = Bench(monkeypatch, pairing="pair", max_wait_s=1.0)
    bench.run(0.2, ir=False)
    assert not bench.jobs
    del bench.jobs  # where the first frame is kept
    bench.intake.clear("clock_jump")
    assert bench.passed == [(number, "fault") for number in (1, 2, 3, 4)]


def test_tuning_does_not_make_a_frozen_camera_count_as_well(monkeypatch):
    bench = Bench(monkeypatch, ir_frozen_after_s=1.0)
    still = from_array("mono8", np.full((16, 16), 9, np.uint8))
    for _ in range(30):
        bench.clock.elapsed_ns += NS // 20
        ns = bench.clock.now_ns()
        still.header.stamp = types.SimpleNamespace(sec=ns // NS, nanosec=ns % NS)
        bench.intake.add_ir(serialized(still))
    assert bench.intake.judge_now().reason == "frozen"
    for values in (
        {"slop_s": 0.02},
        {"on_ir_loss": "hold"},
        {"max_ir_age_s": 0.5},
        {"ir_missing_after_s": 5.0},
    ):
        bench.change(**values)
        assert bench.intake.judge_now().reason == "frozen", values
    bench.change(ir_frozen_after_s=5.0)
    assert bench.intake.judge_now().usable
    bench.change(ir_width=640, ir_height=480)
    assert bench.intake.judge_now().reason == "wrong_size"


def test_prepared_parameters_that_are_not_put_to_use_change_nothing(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.5)
    new = bench.live.current.changed({"pairing": "pair", "ir_time_offset_s": 10.0})
    put_to_use = bench.intake.prepare(new)
    bench.run(0.5)
    assert bench.intake.judge_now().usable and bench.jobs[-1].ir is not None
    put_to_use()
    assert bench.intake.judge_now().reason == "missing"  # with another offset it starts again
    assert bench.intake.counters()["paired"] == 20  # counts go on


def test_what_the_pairing_is_not_built_from_leaves_it_alone(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.5)
    bench.change(on_unpaired="drop", hold_s=3.0)
    bench.run(0.05, ir=False)
    assert bench.jobs[-1].ir is not None
    assert not any(name.startswith("cleared") for name in bench.intake.counters())


def test_waiting_frames_are_announced_and_only_they(monkeypatch):
    bench = Bench(monkeypatch)
    bench.run(0.2)
    assert bench.announced == [] and not bench.intake.expire()
    bench.change(pairing="pair", max_wait_s=0.1)
    bench.run(0.2, ir=False)
    assert bench.announced and bench.intake.expire()
    bench.clock.elapsed_ns += NS
    assert not bench.intake.expire()
