"""What /diagnostics says of a node in each of its situations, with plain objects for its parts."""

import types

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from builtin_interfaces.msg import Time

from irvis_fusion_core.registration import ResizeRegistration
from irvis_fusion_core.streams.health import Verdict
from irvis_fusion_ros.node.engine_state import FAILED, READY, EngineState
from irvis_fusion_ros.node.reports import diagnostics as report_module
from irvis_fusion_ros.node.reports.diagnostics import ERROR, OK, WARN, Report
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.events import EventCounter
from irvis_fusion_ros.pipeline.frames import FUSED
from irvis_fusion_ros.pipeline.pair_fuser import Stages


class Input:
    """A subscription."""

    def __init__(self):
        self.is_open, self.received, self.lost_in_queue = True, 0, 0

    def losses(self):
        return {"reader queue": self.lost_in_queue, "middleware": 1}

    def describe(self):
        return {"topic": "/x"}


class Inputs(dict):
    """The subscriptions by name."""

    silent = {}


class Parts:
    """What Report reads of a node and its parts, as plain objects."""

    def __init__(self):
        self.output = types.SimpleNamespace(
            outcomes=EventCounter(), last_unfused="", late_results=0
        )
        self.stages = types.SimpleNamespace(
            changes=0, stages=types.SimpleNamespace(registration=ResizeRegistration(), problem="")
        )
        self.mailbox = types.SimpleNamespace(
            displaced_count=0,
            given_up_count=0,
            given_up=False,
            busy_s=lambda now_s: 4.2,
            patience_s=0.15,
        )
        self.overload = types.SimpleNamespace(only_fused=False)
        worker = types.SimpleNamespace(
            openings=1, failures=0, retries=2, retry_at_s=0.0, mailbox=self.mailbox
        )
        self.output_report = types.SimpleNamespace(
            status=lambda: ("output", OK, "every subscriber can be served", {}), unserved=[]
        )
        self.engine_state = EngineState(lambda state, reason: None)
        self.engine_state.set(READY)
        self.verdict = Verdict(True, "ok", "thermal frames arrive and change")
        self.path = types.SimpleNamespace(
            counters=lambda: {"vis_in": 3}, judge_now=lambda: self.verdict, worker=worker
        )
        self.inputs = Inputs(ir=Input(), vis=Input())
        self.live = LiveSettings(Settings())
        self.events = EventCounter()
        self.state_label = "active"
        self.checks = types.SimpleNamespace(sizes={"ir": (120, 160)})
        self.engine_text = {"engine": "reference"}
        self.latencies = types.SimpleNamespace(describe=dict)

    def get_fully_qualified_name(self):
        return "/robot/fusion_node"

    def get_clock(self):
        now = types.SimpleNamespace(to_msg=lambda: Time(sec=7))
        return types.SimpleNamespace(now=lambda: now)

    def count(self, outcome, number=1):
        for _ in range(number):
            self.output.outcomes.add(outcome)
        if outcome != FUSED:
            self.output.last_unfused = outcome

    def report(self):
        return Report(self, self)


@pytest.fixture
def node():
    return Parts()


def statuses(report):
    """Return the statuses by their short names."""
    array = report.make()
    assert array.header.stamp.sec == 7
    return {s.name.replace("robot/fusion_node: ", ""): s for s in array.status}


def test_all_is_well(node):
    report = node.report()
    node.count(FUSED, 3)
    found = statuses(report)
    assert list(found) == ["fusion", "ir", "vis", "output", "engine", "registration", "messages"]
    assert {status.level for status in found.values()} == {OK}
    assert found["fusion"].message == "fusing"
    assert {v.key: v.value for v in found["ir"].values}["size"] == "160x120"


@pytest.mark.parametrize(
    "outcome, text",
    [
        ("passed: overrun", "smaller model"),
        ("passed: engine_stuck", "far longer than usual"),
        ("passed: ir_missing", "the last: passed: ir_missing"),
    ],
)
def test_frames_that_are_not_fused_are_a_warning_with_what_helps(node, outcome, text):
    report = node.report()
    node.count(FUSED, 2)
    node.count(outcome, 3)
    status = statuses(report)["fusion"]
    assert status.level == WARN and "3 of 5 frames not fused" in status.message
    assert text in status.message
    node.count(FUSED, 2)
    assert statuses(report)["fusion"].level == OK


def test_an_overload_is_told_for_as_long_as_it_lasts(node):
    report = node.report()
    node.count(FUSED, 2)
    node.count("dropped: overrun", 3)
    node.overload.only_fused = True
    status = statuses(report)["fusion"]
    assert status.level == WARN
    assert status.message == (
        "overload, only fused frames are published: 3 of 5 frames not fused, the last: dropped:"
        " overrun; the engine is slower than the camera: take a smaller model, another precision,"
        " or smaller images"
    )
    assert {v.key: v.value for v in status.values}["overload"] == "only fused frames"
    node.count(FUSED, 2)
    node.overload.only_fused = False
    assert statuses(report)["fusion"].message == "fusing"


def test_every_published_frame_has_a_place_in_the_report(node):
    report, vis = node.report(), node.inputs["vis"]
    vis.received, vis.lost_in_queue = 9, 4
    node.count(FUSED, 2)
    node.count("passed: overrun", 3)
    node.count("dropped: vis_short_data", 1)
    found = statuses(report)
    values = {each.key: each.value for each in found["fusion"].values}
    counted = {k: int(n) for k, n in values.items() if k.startswith(("frames ", "lost: "))}
    assert counted["lost: reader queue"] == 4 and values["on their way"] == "3"
    assert int(values["published"]) == 14 == sum(counted.values()) + 3
    assert found["vis"].level == WARN and "4 messages lost: reader queue" in found["vis"].message
    assert "vis_qos.depth" in found["vis"].message
    assert statuses(report)["vis"].level == OK  # nothing more was lost
    vis.lost_in_queue = 1  # the middleware tells that it lost three of them
    assert statuses(report)["vis"].level == OK


def test_switched_off_is_no_warning(node):
    report = node.report()
    node.live.current = Settings.of({"enabled": False})
    node.count("passed: disabled")
    assert statuses(report)["fusion"].level == OK


def test_no_visible_frame_is_an_error_but_not_while_nobody_listens(node, monkeypatch):
    report = node.report()
    now = [report._active_s + report_module.QUIET_S + 1.0]
    monkeypatch.setattr(report_module, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    assert statuses(report)["fusion"].level == ERROR
    node.inputs["vis"].is_open = False
    status = statuses(report)["fusion"]
    assert status.level == OK and "nobody subscribes" in status.message
    node.output_report.unserved = ["/viewer gets nothing of /fused/image_raw: a reason"]
    status = statuses(report)["fusion"]
    assert status.level == WARN and status.message.endswith("/fused/image_raw: a reason")
    assert "nobody" not in status.message
    node.state_label = "inactive"
    assert "inactive" in statuses(report)["fusion"].message


def test_a_rate_is_what_came_since_the_last_report_over_the_time(node, monkeypatch):
    report = node.report()
    now = [report._active_s]
    monkeypatch.setattr(report_module, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def rate_after(seconds, frames):
        now[0] += seconds
        node.count(FUSED, frames)
        values = {v.key: v.value for v in statuses(report)["fusion"].values}
        return values["fused_hz"]

    assert rate_after(10.0, 5) == "0.0"  # the first report knows no time before
    assert rate_after(2.0, 60) == "30.0"
    assert rate_after(0.0, 5) == "0.0"


def test_silent_inputs_and_a_lost_engine_say_why(node):
    report = node.report()
    node.inputs.silent = {"ir": "nothing on /ir", "vis": "nothing on /vis"}
    found = statuses(report)
    assert (found["ir"].level, found["ir"].message) == (WARN, "nothing on /ir")
    assert (found["vis"].level, found["vis"].message) == (ERROR, "nothing on /vis")
    node.inputs.silent = {}
    node.verdict = Verdict(False, "frozen", "the image stands still")
    node.engine_state.set(FAILED, "ModelError: no file")
    found = statuses(report)
    assert (found["ir"].level, found["ir"].message) == (WARN, "the image stands still")
    assert (found["engine"].level, found["engine"].message) == (
        ERROR,
        "failed: ModelError: no file; opened again in 0 s (retry 2)",
    )


def test_an_engine_that_hangs_is_an_error_for_as_long_as_it_does(node):
    report = node.report()
    node.mailbox.given_up = True
    status = statuses(report)["engine"]
    assert status.level == ERROR and "at one frame for 4.2 s" in status.message
    node.mailbox.given_up = False
    assert statuses(report)["engine"].level == OK


def test_bad_messages_warn_once_and_stay_named(node):
    report = node.report()
    node.events.add("ir: short_data", "expected 100 bytes")
    status = statuses(report)["messages"]
    assert status.level == WARN and "1 bad since the last report" in status.message
    status = statuses(report)["messages"]
    assert status.level == OK and "kinds so far: ir: short_data" in status.message


def learned_stages(**said):
    found = {
        "displacement_median_px": "1.2",
        "displacement_p95_px": "9.8",
        "confident_cells": "0.71",
    }
    values = {"mode": "learned", "base": "homography", **found, **said}
    registration = types.SimpleNamespace(mode="learned", describe=lambda: values)
    return Stages(None, registration, None)


def test_a_learned_registration_says_what_it_moves_and_how_sure_it_is():
    status = report_module.registration_status("learned", learned_stages())
    assert status.level == OK
    assert status.message == (
        "learned over homography: 1.2 px (median), 9.8 px (95 %), confident in 0.71 of the image"
    )
    assert status.values["displacement_p95_px"] == "9.8"


def test_a_network_that_fails_is_a_warning_and_names_the_cause():
    status = report_module.registration_status("learned", learned_stages(failure="no such file"))
    assert status.level == WARN and status.message == "learned: no such file"
