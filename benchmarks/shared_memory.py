"""Count the images that arrive over Fast DDS's shared memory, into the node and out of it.

    python -m benchmarks.shared_memory [--seconds 10] [--rate-hz 15]

A camera, the node (with an engine that takes no time) and a consumer run in processes of their
own. The camera publishes pairs; node and consumer count what they receive. Each row is
one run: a size, a reliability on both sides of the node, and the segment of camera and node, which
is Fast DDS's default of 512 KB or the one that the node makes for itself (8 to 24 MB).
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from benchmarks.shared.node_roles import run_camera, run_reference_node
from benchmarks.shared.options import make_parser
from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.node.startup.shared_memory import MIB, own_segment, segment_bytes
from irvis_fusion_ros.parameters.node_settings import TopicSettings
from irvis_fusion_ros.running_node import environment as environments
from irvis_fusion_ros.running_node.child_process import ChildProcess
from training.tables import markdown_table

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((640, 480), (1280, 1024))
DEFAULT_SEGMENT = {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"}
DEPTH = 10


def make_profile(reliability: str) -> QoSProfile:
    """Return the QoS of camera and consumer."""
    return QoSProfile(depth=DEPTH, reliability=getattr(QoSReliabilityPolicy, reliability.upper()))


def publish(options: argparse.Namespace) -> None:
    """Be the camera."""
    sizes = TopicSettings(shared_memory_width=options.width, shared_memory_height=options.height)
    with nullcontext() if os.environ.get("FASTDDS_BUILTIN_TRANSPORTS") else own_segment(sizes):
        size, profile = (options.width, options.height), make_profile(options.reliability)
        run_camera(size, options.seconds, options.rate_hz, qos=profile, subscribers=1)


def consume(options: argparse.Namespace) -> None:
    """Count the images that arrive, and what the node says of itself, until a line on stdin."""
    rclpy.init()
    node = rclpy.create_node("consumer")
    stamps: list[int] = []
    told: dict[str, str] = {}

    def on_report(message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.rpartition(": ")[2]
            told.update((f"{name} {pair.key}", pair.value) for pair in status.values)

    def on_image(message: Image) -> None:
        stamps.append(stamp_ns(message.header.stamp))

    profile = make_profile(options.reliability)
    node.create_subscription(Image, "fused/image_raw", on_image, profile)
    node.create_subscription(DiagnosticArray, "/diagnostics", on_report, 10)
    end_s = time.monotonic() + options.seconds + 12.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.2)
    left = sum(int(text) for key, text in told.items() if key.startswith("fusion frames "))
    facts = [int(told["ir received"]), int(told["vis received"]), left, len(stamps)]
    print(json.dumps([*facts, len(set(stamps))]))


def run_role(options: argparse.Namespace, rest: Sequence[str]) -> int:
    if options.role == "node":
        return run_reference_node(0.0, list(rest))
    (publish if options.role == "camera" else consume)(options)
    return 0


def measure(
    size: tuple[int, int], reliability: str, own: bool, options: argparse.Namespace
) -> list[int]:
    """Return the images sent, received by the node (IR, visible), published by it, arrived."""
    domain = 60 + os.getpid() % 40
    environment = environments.make_environment(domain, dds_profile=False)
    environment.update(
        {} if own else DEFAULT_SEGMENT,
        PYTHONPATH=os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]),
    )
    width, height = size
    given = ["--width", str(width), "--height", str(height), "--reliability", reliability]
    given += ["--seconds", str(options.seconds), "--rate-hz", str(options.rate_hz)]
    parameters = {
        "shared_memory.width": width,
        "shared_memory.height": height,
        "thermal.method": "none",
        "output_qos.reliability": reliability,
    }

    def helper(role: str, *more: str) -> ChildProcess:
        arguments = ["-m", "benchmarks.shared_memory", "--role", role, *given, *more]
        return ChildProcess(role, arguments, environment, with_stdout=role != "node")

    ros = ["--ros-args", "--log-level", "warn", *environments.parameter_arguments(parameters)]
    limit_s = options.seconds + 60.0
    with helper("node", *ros), helper("consumer") as consumer, helper("camera") as camera:
        sent = len(json.loads(camera.output(limit_s))["sent"])
        ir, vis, published, arrived, different = json.loads(consumer.output(limit_s))
    assert arrived == different, "an image arrived twice"
    return [sent, ir, vis, published, arrived]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit status is 1 where an image is lost with the node's segment."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate-hz", type=float, default=15.0)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--height", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--reliability", default="reliable", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args(arguments)
    if options.role:
        return run_role(options, rest)
    rows: dict[str, list[int]] = {}
    complete = True
    for width, height in SIZES:
        topics = TopicSettings(shared_memory_width=width, shared_memory_height=height)
        for reliability in ("best_effort", "reliable"):
            for own in (False, True):
                segment = f"{segment_bytes(topics) // MIB} MB" if own else "512 KB"
                counts = measure((width, height), reliability, own, options)
                rows[f"{width}x{height}, {reliability}, {segment}"] = counts
                complete &= not own or len(set(counts)) == 1
                print(rows[f"{width}x{height}, {reliability}, {segment}"], file=sys.stderr)
    columns = ("sent", "IR into the node", "visible into the node", "out of it", "arrived")
    print(markdown_table(columns, rows, "d", "images, QoS, segment"))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
