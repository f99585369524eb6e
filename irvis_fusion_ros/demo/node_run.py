"""The demo's processes, run for a while and measured: fusion node, two detectors, cameras."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.detectors.detection import Box
from irvis_fusion_core.detectors.people_detector import count_hits
from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.running_node import environment
from irvis_fusion_ros.running_node.child_process import ChildProcess

NAMESPACE = "/irvis_fusion_demo"
"""The demo's own, so that a robot's topics are left alone."""
CAMERAS = ("-m", "irvis_fusion_ros.demo.demo_cameras")
DETECTOR = ("-m", "irvis_fusion_ros.demo.demo_detector")
START_TIMEOUT_S = 120.0  # TensorRT may have an engine to build
SETTLE_S = 2.0


class Stream(NamedTuple):
    """How one topic arrived at its consumer within the measured time."""

    published: int
    arrived: int  # of those published
    rate_hz: float
    p50_ms: float  # stamp to arrival
    p99_ms: float
    people: str  # found of those present, or found in an image

    @property
    def missing(self) -> int:
        """Number of frames that never arrived."""
        return self.published - self.arrived


class NodeRun(NamedTuple):
    """What was measured while the node ran."""

    engine: str  # its main facts, in one line
    streams: dict[str, Stream]  # by topic
    outcomes: dict[str, int]  # frames, by the node's own reports


def run_node(options: argparse.Namespace, images: str) -> NodeRun:
    """Run all for `options.seconds`; `images` is a folder for what the detectors looked at.

    Raises:
        EngineError: A process ended early, or the node did not fuse.
    """
    from irvis_fusion_ros.running_node.node_watch import NodeWatch

    variables = environment.make_environment()
    os.environ.update(variables)  # read by the middleware when the watch below starts
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        records = {name: os.path.join(folder, name) for name in ("cameras", "vis", "fused")}
        children = [
            stack.enter_context(ChildProcess(f"demo's {name}", arguments, variables))
            for name, arguments in process_arguments(options, records, images)
        ]

        def check() -> None:
            for child in children:
                child.check_running()

        with NodeWatch(NAMESPACE, "demo_watch") as watch:
            watch.wait_until_fusing(START_TIMEOUT_S, check)
            watch.spin(SETTLE_S)
            before, begin_ns = watch.outcomes(), time.time_ns()
            watch.spin(options.seconds)
            after, end_ns = watch.outcomes(), time.time_ns()
            engine = watch.engine_line()
            watch.spin(0.5)  # for the last frames to arrive
        check()
        stack.close()  # ends the processes, which write their records
        published, vis, fused = (load(records[name]) for name in ("cameras", "vis", "fused"))
    consumers = {"vis/image_raw": vis, "fused/image_raw": fused}
    measured_ns = begin_ns, end_ns
    streams = {n: make_stream(published, seen, measured_ns) for n, seen in consumers.items()}
    return NodeRun(engine, streams, {n: after[n] - before.get(n, 0) for n in after})


def process_arguments(
    options: argparse.Namespace, records: dict[str, str], images: str
) -> Iterator[tuple[str, list[str]]]:
    """Yield name and Python arguments of each process, in the order of starting."""
    yield "fusion node", ["-m", environment.NODE_MODULE, *node_arguments(options)]
    for name in ("vis", "fused"):
        arguments = ["--record", records[name], "--images", os.path.join(images, name)]
        remaps = ["-r", f"image:={name}/image_raw", "-r", f"__node:=detector_on_{name}"]
        yield (
            f"detector on {name}",
            [*DETECTOR, *arguments, *environment.ros_arguments(NAMESPACE, remaps)],
        )
    arguments = ["--record", records["cameras"], "--rate-hz", str(options.rate_hz)]
    if options.pairs:
        arguments += ["--pairs", options.pairs]
    yield "cameras", [*CAMERAS, *arguments, *environment.ros_arguments(NAMESPACE)]


def node_arguments(options: argparse.Namespace) -> list[str]:
    """Return the engine options of the command line as ROS parameters of the node."""
    given = {name: getattr(options, name) for name in ("model", "backend", "precision", "device")}
    given.update(engine_cache_dir=options.cache_dir, threads=options.threads or None)
    return environment.ros_arguments(NAMESPACE, environment.parameter_arguments(given))


def load(path: str) -> Any:
    """Return the JSON that a process wrote when it ended.

    Raises:
        EngineError: It wrote none.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"expected a process of the demo to leave {os.path.basename(path)}, found: {error}; "
            "its own message is above"
        ) from error


def make_stream(
    published: Sequence[dict[str, Any]], record: Mapping[str, Any], window_ns: tuple[int, int]
) -> Stream:
    """Compare the visible frames that were published with the record of a consumer.

    Frames stamped within [from, until) of `window_ns` count.
    """
    begin, end = window_ns
    truth = {f["stamp_ns"]: f["people"] for f in published if begin <= f["stamp_ns"] < end}
    latencies_ms: dict[int, float] = {}
    for arrival in record["arrivals"]:
        if arrival["stamp_ns"] in truth:
            taken = 1e-6 * (arrival["arrived_ns"] - arrival["stamp_ns"])
            latencies_ms.setdefault(arrival["stamp_ns"], taken)
    p50, p99 = np.percentile(list(latencies_ms.values()) or [float("nan")], [50, 99])
    seconds = 1e-9 * (end - begin)
    return Stream(
        published=len(truth),
        arrived=len(latencies_ms),
        rate_hz=len(latencies_ms) / seconds if seconds > 0 else 0.0,
        p50_ms=float(p50),
        p99_ms=float(p99),
        people=_people(truth, record["detections"]),
    )


def _people(truth: Mapping[int, Any], detections: Sequence[dict[str, Any]]) -> str:
    looked_at = [d for d in detections if d["stamp_ns"] in truth and d["people"] is not None]
    if not looked_at:
        return "-"
    found = present = 0
    for detection in looked_at:
        boxes = [Box(*box) for box in detection["people"]]
        people = truth[detection["stamp_ns"]]
        if people is None:  # the user's own images: the number is unknown
            found += len(boxes)
        else:
            present += len(people)
            found += count_hits(boxes, [Box(*box) for box in people])
    if present:
        return f"{found} of {present} ({100 * found / present:.0f} %)"
    return f"{found / len(looked_at):.2f} an image"


def make_table(streams: Mapping[str, Stream]) -> list[list[str]]:
    """Return a row of headings and a row for each topic."""
    rows = [["topic", "Hz", "published", "arrived", "missing", "p50 ms", "p99 ms", "people found"]]
    for name, s in streams.items():
        counts = [str(s.published), str(s.arrived), str(s.missing)]
        rows.append(
            [name, f"{s.rate_hz:.1f}", *counts, f"{s.p50_ms:.1f}", f"{s.p99_ms:.1f}", s.people]
        )
    return rows
