"""What the worker does with a decision: outcome, latencies, thermal limits, alignment."""

import types

import numpy as np
import pytest
from message_builders import from_array, serialized

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_core.streams.health import OK
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.node import frame_path
from irvis_fusion_ros.node.engine_state import READY, EngineState
from irvis_fusion_ros.node.frame_output import FrameOutput, Publishers
from irvis_fusion_ros.node.overload import Overload
from irvis_fusion_ros.node.worker import Delivery
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.frame_decision import Decision
from irvis_fusion_ros.pipeline.frames import FUSED, PASSED, UNUSABLE_PAIR, IrFrame, VisFrame
from irvis_fusion_ros.pipeline.message_checks import MessageChecks
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser

NS = 1_000_000_000


def now_ns():
    return 0


class Engine:
    """Fuses by the maximum."""

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        return np.maximum(vis, ir[..., np.newaxis])

    def warm_up(self, height, width):
        """Prepare nothing."""


class Bench:
    """A processor whose outputs are kept."""

    def __init__(self, monkeypatch, **changes):
        self.sent, self.events, self.latencies = [], [], []
        topic = types.SimpleNamespace(publish=self.sent.append, get_subscription_count=lambda: 1)
        live = LiveSettings(Settings.of(changes))

        def note(kind, text):
            self.events.append(kind)

        self.output = FrameOutput(Publishers(topic, topic, None, live, note), live, note)
        self.overload = Overload(live, note)
        self.stages = CurrentStages(live.current)
        self.states = []
        state = EngineState(lambda name, reason: self.states.append(name))
        state.set(READY)
        self.processor = frame_path.FramePath(
            live,
            MessageChecks(note),
            self.output,
            self.overload,
            self.stages,
            state,
            lambda: self.fuser,
            note,
            now_ns,
            self.latencies.append,
            lambda: None,
        )
        self.fuser = PairFuser(Engine())

    def arrive(self, count):
        """Let the output expect frames up to number `count`."""
        while self.output.arrivals < count:
            self.output.arrived()

    def process(self, *decisions):
        self.arrive(decisions[-1].vis.number)
        *displaced, newest = decisions
        self.processor.process(self.fuser, Delivery(newest, displaced))

    def outcomes(self):
        return self.output.outcomes.counts()


def decision(number, ir_number=None, skew_s=0.0, size=(48, 64), ir_size=(48, 64)):
    message = serialized(from_array("rgb8", np.full((*size, 3), number, np.uint8)))
    frame = VisFrame(number, message, image_messages.view(message), number * NS, 0, size)
    if ir_number is None:
        return Decision(PASSED, "ir_missing", frame, frame.stamp_ns, None, None, "missing")
    pixels = np.full(ir_size, 100 + ir_number, np.uint8)
    ir = IrFrame(ir_number, frame.stamp_ns + round(skew_s * NS), pixels)
    return Decision(FUSED, FUSED, frame, frame.stamp_ns, ir, skew_s, OK)


def test_the_first_frame_of_a_size_passes_while_the_engine_warms_up(monkeypatch):
    bench = Bench(monkeypatch)
    bench.process(decision(1, 1))
    bench.process(decision(2, 2))
    bench.process(decision(3, 3, size=(24, 32)))
    assert bench.outcomes() == {"passed: engine_warming_up": 2, "fused": 1}
    assert bench.states == ["ready", "warming up", "ready", "warming up", "ready"]


def test_no_engine_is_built_for_the_size_of_an_image_that_cannot_be_fused(monkeypatch):
    bench = Bench(monkeypatch)
    readable = decision(1, 1)
    message = serialized(from_array("rgb8", np.zeros((48, 64, 3), np.uint8)))
    message.encoding = "mystery"
    bench.process(readable._replace(vis=readable.vis._replace(message=message, pixels=None)))
    assert bench.outcomes() == {"passed: " + UNUSABLE_PAIR: 1}
    assert bench.states == ["ready"] and bench.fuser.warm_sizes == []


def test_an_image_is_not_read_where_there_is_no_registration(monkeypatch):
    bench = Bench(monkeypatch)
    bench.fuser.warm_up((48, 64))
    monkeypatch.setattr(bench.stages, "stages", bench.stages.stages._replace(registration=None))
    read = []
    monkeypatch.setattr(image_messages, "visible_frame", lambda *given: read.append(given))
    bench.process(decision(1, 1))
    assert bench.outcomes() == {"passed: uncalibrated": 1} and not read


def test_a_held_thermal_frame_has_a_skew_and_is_not_offered_to_alignment(monkeypatch):
    bench = Bench(
        monkeypatch,
        **{
            "thermal.method": "none",
            "registration.mode": "online",
            "registration.online_base": "resize",
        },
    )
    offered = []
    registration = bench.stages.stages.registration
    monkeypatch.setattr(registration, "offer", lambda *pair: offered.append(pair))
    bench.process(decision(1, 1))  # the warm-up
    bench.process(decision(2, 2, skew_s=0.02))
    bench.process(decision(3, 2, skew_s=-1.5))  # on_ir_loss: hold
    assert bench.outcomes()["fused"] == 2
    assert [each["skew_ms"] for each in bench.latencies] == [20.0, -1500.0]
    assert len(offered) == 1


def test_calibration_that_does_not_fit_a_size_is_no_failure_of_the_engine(monkeypatch):
    bench = Bench(
        monkeypatch,
        **{
            "registration.mode": "homography",
            "registration.calibrated_ir_size": [512, 640],
            "registration.calibrated_vis_size": [480, 640],
        },
    )
    for number in (1, 2):
        bench.process(decision(number, number, size=(480, 640), ir_size=(100, 640)))
    assert len(bench.sent) == 2
    assert bench.output.last_unfused == "passed: " + UNUSABLE_PAIR
    assert bench.events == ["pair: CalibrationError"]


def test_the_thermal_limits_see_every_frame_that_was_to_be_fused_once(monkeypatch):
    bench = Bench(monkeypatch)
    seen = []
    rescale = bench.stages.stages.thermal.rescale
    monkeypatch.setattr(
        bench.stages.stages.thermal,
        "rescale",
        lambda raw, stamp_s: (seen.append(int(raw[0, 0]) - 100), rescale(raw, stamp_s))[1],
    )
    bench.process(decision(1, 1))
    bench.process(decision(2, 2), decision(3), decision(4, 3))  # two displaced ones
    bench.arrive(6)
    bench.processor.pass_by(decision(5, 4), "engine_stuck")
    bench.processor.drop(decision(6, 5))
    bench.process(decision(7, 5))
    assert seen == [1, 2, 3, 4, 5]
    assert bench.outcomes() == {
        "passed: engine_warming_up": 1,
        "passed: overrun": 1,
        "passed: ir_missing": 1,
        "passed: engine_stuck": 1,
        "dropped: overrun": 1,
        "fused": 2,
    }


def test_frames_at_which_the_engine_fails_go_out_unchanged(monkeypatch):
    bench = Bench(monkeypatch)
    bench.arrive(3)
    held, waiting, failed = decision(1, 1), decision(2), decision(3, 1)
    bench.processor.failed(Delivery(failed, [held, waiting]), RuntimeError("device lost"))
    assert bench.sent == [each.vis.message.raw for each in (held, waiting, failed)]
    assert bench.events == ["engine: RuntimeError"]
    assert bench.outcomes() == {
        "passed: overrun": 1,
        "passed: ir_missing": 1,
        "passed: engine_error": 1,
    }


def test_a_frame_given_up_is_counted_once_though_its_fused_image_comes_later(monkeypatch):
    bench = Bench(monkeypatch)
    bench.process(decision(1, 1))  # the warm-up
    bench.arrive(2)
    slow = decision(2, 2)
    bench.processor.pass_by(slow, "engine_stuck")
    bench.process(slow)
    assert bench.outcomes() == {"passed: engine_warming_up": 1, "passed: engine_stuck": 1}
    assert bench.output.late_results == 1 and len(bench.sent) == 2
