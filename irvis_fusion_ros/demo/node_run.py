"""The demo's processes, run for a while and measured: fusion node, two detectors, cameras."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.demo.demo_report import Stream, make_stream
from irvis_fusion_ros.running_node.child_process import ChildProcess
from irvis_fusion_ros.running_node.environment import (
    NODE_MODULE,
    make_environment,
    parameter_arguments,
    ros_arguments,
)  # fmt: skip

NAMESPACE = "/irvis_fusion_demo"
"""The demo's own, so that a robot's topics are left alone."""
CAMERAS = ("-m", "irvis_fusion_ros.demo.demo_cameras")
DETECTOR = ("-m", "irvis_fusion_ros.demo.demo_detector")
START_TIMEOUT_S = 120.0  # TensorRT may have an engine to build
SETTLE_S = 2.0


class NodeRun(NamedTuple):
    """What was measured while the node ran."""

    engine: str  # its main facts, in one line
    streams: dict[str, Stream]  # by topic
    outcomes: dict[str, int]  # frames, by the node's own reports


def run_node(options: argparse.Namespace, images: str) -> NodeRun:
    """Run cameras, node and detectors for `options.seconds`.

    `images` is a folder for the images that the detectors looked at.

    Raises:
        EngineError: A process ended early, or the node did not fuse.
    """
    from irvis_fusion_ros.running_node.node_watch import NodeWatch

    environment = make_environment()
    os.environ.update(environment)  # read by the middleware when the watch below starts
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        records = {name: os.path.join(folder, name) for name in ("cameras", "vis", "fused")}
        children = [
            stack.enter_context(ChildProcess(f"demo's {name}", arguments, environment))
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
    yield "fusion node", ["-m", NODE_MODULE, *node_arguments(options)]
    for name in ("vis", "fused"):
        arguments = ["--record", records[name], "--images", os.path.join(images, name)]
        remaps = ["-r", f"image:={name}/image_raw", "-r", f"__node:=detector_on_{name}"]
        yield f"detector on {name}", [*DETECTOR, *arguments, *ros_arguments(NAMESPACE, remaps)]
    arguments = ["--record", records["cameras"], "--rate-hz", str(options.rate_hz)]
    if options.pairs:
        arguments += ["--pairs", options.pairs]
    yield "cameras", [*CAMERAS, *arguments, *ros_arguments(NAMESPACE)]


def node_arguments(options: argparse.Namespace) -> list[str]:
    """Return the engine options of the command line as ROS parameters of the node."""
    given = {name: getattr(options, name) for name in ("model", "backend", "precision", "device")}
    given.update(engine_cache_dir=options.cache_dir, threads=options.threads or None)
    return ros_arguments(NAMESPACE, parameter_arguments(given))


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
