"""`--live`: the bag through the running node over DDS, measured from outside.

Three processes as on a robot: the player, the node with the configuration's parameters, and this
one, which subscribes to what comes out. Then the walk is done once more with the pairs of the
live run, so that every difference has a cause.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.evaluation.configurations import Configuration
from irvis_fusion_ros.evaluation.live import compare as live_compare
from irvis_fusion_ros.evaluation.live.scripted import ScriptedFusion
from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, digest
from irvis_fusion_ros.evaluation.summary import spread
from irvis_fusion_ros.evaluation.tables import Table, read_rows
from irvis_fusion_ros.parameters.generated_files import yaml_scalar
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.running_node.environment import make_environment, why_no_ros

NAMESPACE = f"/irvis_fusion_evaluation_{os.getpid()}"
"""Of its own: neither a robot's topics nor another evaluation are touched."""
COLUMNS = (
    "configuration", "frame", "vis_stamp_ns", "verdict", "ir_stamp_ns", "image", "latency_ms",
)  # fmt: skip
BUILD_TIMEOUT_S = 1800.0
"""TensorRT may have an engine to build."""
READY_TIMEOUT_S = 30.0
"""From a ready engine to the first fused images."""
QUIET_S = 1.5


class LiveRun(NamedTuple):
    """What was recorded while one configuration ran."""

    arrivals: List[Any]
    skews_ms: List[float]
    published: List[Dict[str, Any]]
    outcomes: Dict[str, int]
    engine: Dict[str, str]


def play_all(plan: Any) -> Dict[str, Any]:
    """Play the bag through the node once for each configuration; configuration -> what came.

    Writes live.csv beside the other tables.

    Raises:
        EngineError: there is no ROS here, or the node or the player failed.
    """
    missing = why_no_ros()
    if missing:
        raise EngineError(f"expected ROS 2 for --live, found that {missing}")
    os.environ.update(make_environment())  # read by the middleware when the recorder starts
    table = Table(os.path.join(plan.output, LIVE), COLUMNS)
    with contextlib.closing(table):
        return {c.name: _play(plan, c, table) for c in plan.configurations}


def _play(plan: Any, configuration: Configuration, table: Table) -> Dict[str, Any]:
    if not plan.quiet:
        print(f"{configuration.name}: through the running node", file=sys.stderr)
    run = _run(plan, configuration)
    walk = _walk_frames(os.path.join(plan.output, FRAMES), configuration.name)
    live = _live_frames(plan, configuration, run)
    verdicts = [live_compare.judge(frame, live.get(frame.stamp_ns)) for frame in walk]
    published = {
        p["stamp_ns"]: p["published_ns"] for p in run.published if p["topic"].startswith("vis/im")
    }
    latency_ms = {
        a.stamp_ns: (a.arrived_ns - published[a.stamp_ns]) / 1e6
        for a in run.arrivals
        if a.stamp_ns in published
    }
    for row in live_compare.as_rows(configuration.name, walk, verdicts, live, latency_ms):
        table.add(row)
    shared = [f for f in walk if live_compare.both_have(f, live.get(f.stamp_ns))]
    equal = sum(1 for f in shared if live[f.stamp_ns].image == f.image)
    fused = [f for f in live.values() if f.image and f.image != f.unchanged]
    given = sum(1 for f in fused if f.scripted == f.image)
    return {
        "sentence": live_compare.sentence(verdicts, len(shared), equal, given),
        "frames": len(walk),
        "received": len(run.arrivals),
        "identical": verdicts.count(live_compare.IDENTICAL),
        "both_fused_the_same_pair": len(shared),
        "of_those_equal": equal,
        "fused_live": len(fused),
        "repeated_given_the_pairs": given,
        "causes": live_compare.count_causes(verdicts),
        "node_outcomes": run.outcomes,
        "latency_ms": spread(np.array(list(latency_ms.values()))),
        "player_late_ms": spread(np.array([p["late_ms"] for p in run.published])),
        "engine": run.engine,
    }


def _run(plan: Any, configuration: Configuration) -> LiveRun:
    """Start node and player, warm the node up, play, and record."""
    from irvis_fusion_ros.evaluation.live.recorder import LiveRecorder

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        settings = configuration.settings.changed({"autostart": True, "diagnostics_period_s": 0.5})
        file = os.path.join(folder, "parameters.yaml")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(_parameter_file(settings))
        ros = ["--ros-args", "-r", f"__ns:={NAMESPACE}", "--log-level", "warn"]
        node = stack.enter_context(
            _running(
                "fusion_node", ["irvis_fusion_ros.node.fusion_node", *ros, "--params-file", file]
            )
        )
        record = os.path.join(folder, "player.json")
        player = stack.enter_context(
            _running(
                "player",
                ["irvis_fusion_ros.evaluation.live.player", plan.bag, "--record", record,
                 "--names", json.dumps(_names(plan.topics)), "--rate", str(plan.live_rate), *ros],
            )
        )  # fmt: skip
        with LiveRecorder(NAMESPACE) as recorder:
            _wait_until_fusing(recorder, node, player)
            recorder.spin(0.5)
            before = recorder.outcomes()
            recorder.forget_warm_up(settings)
            _go(player)
            while player.poll() is None:
                recorder.spin(0.1)
                _check(node, "fusion_node")
            _check(player, "player", ended=True)
            recorder.spin(QUIET_S)
            after = recorder.outcomes()
            outcomes = {k: n - before.get(k, 0) for k, n in after.items()}
            with open(record, encoding="utf-8") as stream:
                published = json.load(stream)
            first_ns = min((p["stamp_ns"] for p in published), default=0)
            return LiveRun(
                [a for a in recorder.arrivals if a.stamp_ns >= first_ns],
                list(recorder.skews_ms),
                published,
                {k: n for k, n in outcomes.items() if n},
                recorder.engine(),
            )


def _wait_until_fusing(recorder: Any, node: Any, player: Any) -> None:
    """Listen until the node has fused images of the warm-up.

    Raises:
        EngineError: it did not in time, or a process ended.
    """

    def fusing() -> bool:
        _check(node, "fusion_node")
        _check(player, "player")
        return recorder.outcomes().get("fused", 0) >= 2

    waited_s = ready_s = 0.0
    while waited_s < BUILD_TIMEOUT_S and ready_s < READY_TIMEOUT_S:
        if recorder.spin_until(fusing, 5.0):
            return
        waited_s += 5.0
        ready_s += 5.0 if recorder.engine_state() == "ready" else 0.0
        print(f"waiting for the node to fuse: {recorder.statuses()}", file=sys.stderr)
    raise EngineError(
        f"expected the node to fuse, found after {waited_s:.0f} s: "
        f"{recorder.statuses() or 'no diagnostics of it'}; run `irvis_fusion doctor`"
    )


def _live_frames(
    plan: Any, configuration: Configuration, run: LiveRun
) -> Dict[int, live_compare.LiveFrame]:
    """Every visible stamp with what came out of it, and what the walk makes of the same pairs."""
    images = {a.stamp_ns: a.image for a in run.arrivals}
    unchanged: Dict[int, Optional[str]] = {}
    scripted: Dict[int, Optional[str]] = {}
    with ScriptedFusion(configuration.settings, {}, _NoEngine()) as nothing:
        for frame in nothing.walk(plan.bag, plan.topics):
            unchanged[frame.vis_stamp_ns] = digest(frame.message)
    fused = [a.stamp_ns for a in run.arrivals if unchanged.get(a.stamp_ns) != a.image]
    script = live_compare.thermal_stamps(
        fused, run.skews_ms, configuration.settings.pairing.ir_time_offset_s
    )
    used: Dict[int, Optional[int]] = {}
    with ScriptedFusion(configuration.settings, script or {}) as again:
        for frame in again.walk(plan.bag, plan.topics):
            scripted[frame.vis_stamp_ns] = digest(frame.message)
            used[frame.vis_stamp_ns] = frame.ir_stamp_ns
    return {
        stamp_ns: live_compare.LiveFrame(
            images.get(stamp_ns), unchanged[stamp_ns], used.get(stamp_ns), scripted[stamp_ns]
        )
        for stamp_ns in unchanged
    }


class _NoEngine:
    """Stands where nothing is to be fused."""


def _walk_frames(path: str, name: str) -> List[live_compare.WalkFrame]:
    return [
        live_compare.WalkFrame(
            int(row["vis_stamp_ns"]),
            row["outcome"],
            int(row["ir_stamp_ns"]) if row["ir_stamp_ns"] else None,
            row["image"] or None,
        )
        for row in read_rows(path)
        if row["configuration"] == name
    ]


def _names(topics: Any) -> Dict[str, str]:
    """Topic of the bag -> the node's own name for it."""
    names = {}
    for topic, name in ((topics.ir, "ir/image_raw"), (topics.vis, "vis/image_raw")):
        names[topic] = name + ("/compressed" if topic.endswith("/compressed") else "")
    if topics.vis_info:
        names[topics.vis_info] = "vis/camera_info"
    return names


def _parameter_file(settings: Settings) -> str:
    lines = ["/**:", "  ros__parameters:"]
    lines += [f"    {name}: {yaml_scalar(v)}" for name, v in settings.to_mapping().items()]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _running(name: str, arguments: List[str]) -> Iterator[Any]:
    """A process of ours with a pipe to its stdin, ended as by Ctrl-C at the end of the block."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _go(player: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has ended; `_check` says so
        player.stdin.write(b"go\n")
        player.stdin.flush()


def _check(process: Any, name: str, ended: bool = False) -> None:
    """Raise EngineError where a process ended, or where it ended with an error."""
    status = process.poll()
    if status is not None and (status != 0 or not ended):
        raise EngineError(
            f"expected the {name} to run to the end, found that it ended with status {status}; "
            "its own message is above"
        )
