"""The intake's verdicts and reasons, and the processor's outcomes, with plain objects around."""

import types

import numpy as np
import pytest
from message_builders import from_array

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros import frame_intake, parameters
from irvis_fusion_ros.frame_processor import UNUSABLE_PAIR, FrameProcessor, IrFrame, Job, Outputs
from irvis_fusion_ros.worker import READY, Delivery

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
        monkeypatch.setattr("irvis_fusion_core.health.time", steady)

    def now(self):
        return types.SimpleNamespace(nanoseconds=START_S * NS + self.elapsed_ns)


class Bench:
    """An intake whose jobs are collected."""

    def __init__(self, monkeypatch, **changes):
        self.clock, self.events, self.jobs = Clock(monkeypatch), [], []
        worker = types.SimpleNamespace(
            state=READY, accepts=lambda now_s: True, submit=self.jobs.append
        )
        processor = types.SimpleNamespace(drop=self.events.append, forget=lambda: None)
        self.intake = frame_intake.FrameIntake(
            parameters.check_all(changes),
            processor,
            worker,
            lambda kind, text: self.events.append(kind),
            self.clock.now,
        )
        self._count = 0

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


def processor_of(image, info, compressed, **changes):
    settings = parameters.check_all(changes)
    outputs = Outputs(image, info, compressed, settings)
    outputs.camera_info = types.SimpleNamespace(header=None)
    events = []
    processor = FrameProcessor(
        outputs,
        settings,
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


def test_calibration_goes_with_a_picture_that_cannot_be_compressed():
    image, info = Topic(), Topic()
    processor, _ = processor_of(image, info, Topic())
    vis = from_array("32FC1", np.zeros((4, 4), np.float32))
    processor.pass_through(Job(1, vis, NS, 0), "test")
    assert image.messages == [vis]
    assert [message.header for message in info.messages] == [vis.header]
