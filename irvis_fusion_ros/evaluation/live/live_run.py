"""`--live`: the bag through the running node over DDS, recorded in another process.

As on a robot there are three processes: the player, the node with the configuration's parameters,
and this one, which subscribes. Afterwards the offline replay is repeated with the pairs of the
live run, so that every difference has a cause.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from irvis_fusion_core.calibration.parameter_file import update_parameters
from irvis_fusion_core.errors import EngineError
from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.bags.bag import read_messages
from irvis_fusion_ros.bags.bag_error import ignore_incomplete
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.offline_fusion import OfflineFusion
from irvis_fusion_ros.evaluation.configurations import Configuration
from irvis_fusion_ros.evaluation.live import compare
from irvis_fusion_ros.evaluation.live.compare import LiveFrame, ScriptedDecider, WalkFrame
from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, digest
from irvis_fusion_ros.evaluation.summary import spread
from irvis_fusion_ros.evaluation.tables import Table, read_rows
from irvis_fusion_ros.messages.image_messages import ImageMessageError, passed_bytes
from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.running_node import environment
from irvis_fusion_ros.running_node.child_process import ChildProcess

if TYPE_CHECKING:
    from irvis_fusion_ros.evaluation.evaluation import Plan
    from irvis_fusion_ros.evaluation.live.recorder import Arrival

NAMESPACE = f"/irvis_fusion_evaluation_{os.getpid()}"
"""Keeps apart from a robot's topics and from other evaluations."""
PLAYER_MODULE = "irvis_fusion_ros.evaluation.live.player"
COLUMNS = (
    "configuration", "frame", "vis_stamp_ns", "verdict", "ir_stamp_ns", "image", "latency_ms",
)  # fmt: skip
BUILD_TIMEOUT_S = 1800.0
"""TensorRT may have to build an engine."""
QUIET_S = 1.5
"""The time in which the last frames arrive."""


class LiveRun(NamedTuple):
    """The record of one configuration; `published` is the player's record."""

    arrivals: list[Arrival]
    skews_ms: list[float]
    published: list[dict[str, Any]]
    outcomes: dict[str, int]
    engine: dict[str, str]


def play_all(plan: Plan) -> dict[str, Any]:
    """Play the bag through the node once per configuration; return its entry of summary.json.

    Raises:
        EngineError: ROS is missing, or the node or the player failed.
    """
    missing = environment.why_no_ros()
    if missing:
        raise EngineError(f"expected ROS 2 for --live, found that {missing}")
    # The middleware reads it when the recorder starts.
    os.environ.update(environment.make_environment())
    table = Table(os.path.join(plan.output, LIVE), COLUMNS)
    with contextlib.closing(table):
        return {c.name: _play(plan, c, table) for c in plan.configurations}


def _play(plan: Plan, configuration: Configuration, table: Table) -> dict[str, Any]:
    name = configuration.name
    if not plan.quiet:
        print(f"{name}: through the running node", file=sys.stderr)
    run = _run(plan, configuration)
    walk = [
        WalkFrame(
            int(row["vis_stamp_ns"]),
            row["outcome"],
            int(row["ir_stamp_ns"]) if row["ir_stamp_ns"] else None,
            row["image"] or None,
        )
        for row in read_rows(os.path.join(plan.output, FRAMES), {"configuration": name})
    ]
    live = _live_frames(plan, configuration.settings, run)
    verdicts = [compare.judge(frame, live.get(frame.stamp_ns)) for frame in walk]
    arrived_ns = {arrival.stamp_ns: arrival.arrived_ns for arrival in run.arrivals}
    latency_ms = {
        p["stamp_ns"]: (arrived_ns[p["stamp_ns"]] - p["published_ns"]) / 1e6
        for p in run.published
        if p["topic"].startswith("vis/im") and p["stamp_ns"] in arrived_ns
    }
    for index, (frame, verdict) in enumerate(zip(walk, verdicts)):
        found = live.get(frame.stamp_ns, LiveFrame(None, None, None, None))
        latency = latency_ms.get(frame.stamp_ns)
        cells = (name, index, frame.stamp_ns, verdict, found.ir_stamp_ns, found.image, latency)
        table.add(dict(zip(COLUMNS, cells)))
    shared = [f for f in walk if compare.both_have(f, live.get(f.stamp_ns))]
    equal = sum(1 for f in shared if live[f.stamp_ns].image == f.image)
    fused = [f for f in live.values() if f.image and f.image != f.unchanged]
    given = sum(1 for f in fused if f.scripted == f.image)
    return {
        "sentence": compare.sentence(verdicts, len(shared), equal, given),
        "frames": len(walk),
        "received": len(run.arrivals),
        "identical": verdicts.count(compare.IDENTICAL),
        "both_fused_the_same_pair": len(shared),
        "of_those_equal": equal,
        "fused_live": len(fused),
        "repeated_given_the_pairs": given,
        "causes": compare.count_causes(verdicts),
        "node_outcomes": run.outcomes,
        "latency_ms": spread(np.array(list(latency_ms.values()))),
        "player_late_ms": spread(np.array([p["late_ms"] for p in run.published])),
        "engine": run.engine,
    }


def _run(plan: Plan, configuration: Configuration) -> LiveRun:
    """Start node and player, let the node warm up, play, and record."""
    from irvis_fusion_ros.evaluation.live.recorder import LiveRecorder

    settings = configuration.settings.changed({"autostart": True, "diagnostics_period_s": 0.5})
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file, record = (os.path.join(folder, name) for name in ("node.yaml", "player.json"))
        update_parameters(file, settings.to_mapping())
        arguments = environment.ros_arguments(NAMESPACE, ["--params-file", file])
        arguments = ["-m", environment.NODE_MODULE, *arguments]
        node = stack.enter_context(ChildProcess("fusion node", arguments))
        arguments = ["-m", PLAYER_MODULE, plan.bag, "--record", record]
        arguments += ["--names", json.dumps(_names(plan.topics)), "--rate", str(plan.live_rate)]
        arguments += environment.ros_arguments(NAMESPACE)
        player = stack.enter_context(ChildProcess("player", arguments, with_stdin=True))
        recorder = stack.enter_context(contextlib.closing(LiveRecorder(NAMESPACE)))

        def check() -> None:
            node.check_running()
            player.check_running()

        recorder.wait_until_fusing(BUILD_TIMEOUT_S, check, frames=2)
        recorder.spin(0.5)
        before = recorder.outcomes()
        recorder.forget_warm_up(settings)
        player.send_line("go")
        while player.exit_status is None:
            recorder.spin(0.1)
            node.check_running()
        player.check_succeeded()
        recorder.spin(QUIET_S)
        counted = {k: n - before.get(k, 0) for k, n in recorder.outcomes().items()}
        published = json.loads(Path(record).read_text(encoding="utf-8"))
        first_ns = min((p["stamp_ns"] for p in published), default=0)
        return LiveRun(
            [a for a in recorder.arrivals if a.stamp_ns >= first_ns],
            recorder.skews_ms,
            published,
            {k: n for k, n in counted.items() if n},
            recorder.engine(),
        )


def _live_frames(plan: Plan, settings: Settings, run: LiveRun) -> dict[int, LiveFrame]:
    """Return by visible stamp what was received, and what the replay makes of the same pairs."""
    images = {a.stamp_ns: a.image for a in run.arrivals}
    unchanged: dict[int, str | None] = {}
    for found in read_messages(plan.bag, (plan.topics.vis,), on_incomplete=ignore_incomplete):
        if found.message is None:
            continue
        with contextlib.suppress(ImageMessageError):
            passed = SerializedImage(passed_bytes(found.message))
            unchanged[stamp_ns(found.message.header.stamp)] = digest(passed)
    fused = [a.stamp_ns for a in run.arrivals if unchanged.get(a.stamp_ns) != a.image]
    offset_s = settings.pairing.ir_time_offset_s
    script = compare.thermal_stamps(fused, run.skews_ms, offset_s) or {}
    live: dict[int, LiveFrame] = {}
    with OfflineFusion(settings, decider=ScriptedDecider(settings, script)) as again:
        for frame in again.walk(plan.bag, plan.topics, ignore_incomplete):
            key, repeated = frame.vis_stamp_ns, digest(frame.message)
            live[key] = LiveFrame(images.get(key), unchanged.get(key), frame.ir_stamp_ns, repeated)
    return live


def _names(topics: FusionTopics) -> dict[str, str]:
    """Return topic of the bag -> the node's name for it."""
    names = {topics.vis_info: "vis/camera_info"} if topics.vis_info else {}
    for topic, name in ((topics.ir, "ir/image_raw"), (topics.vis, "vis/image_raw")):
        names[topic] = name + ("/compressed" if topic.endswith("/compressed") else "")
    return names
