"""Measure what the fusion node adds to a frame, against a bare relay and ROS's stock pairing.

A camera process publishes both streams (640x480 at 30 Hz), the node under test and a consumer of
its output run in processes of their own. Latency is from the stamp to arrival at the consumer. The
node's own cost is everything but the engine: reading, rescaling, registering, writing and
publishing a frame, and waiting for the worker. Two measurements of it have to agree::

    inside     wait_ms + node_ms of the node's latency topics, frame by frame
    outside    by an observer in the consumer's process: the time from the middleware's reception
               of the visible frame (the node receives it at the same moment) to that of the fused
               one, minus the engine's, minus the same time through a bare relay, plus the relay's
               time to publish, which the node has to spend as well

    python -m benchmarks.node_latency --seconds 60 [--backend openvino] [--model nano]

`--reference-engine-ms 8` replaces the engine by one that waits that long and fuses by maximum. All
processes use the DDS profile for large images, unless `--no-dds-profile` is given. ROS's
message_filters, where installed, is measured too: in front of a bare relay, and in the node. The
relay is measured before and after the node, for half the time each.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.shared.options import make_parser
from irvis_fusion_ros.running_node import environment as environments
from irvis_fusion_ros.running_node.child_process import ChildProcess
from irvis_fusion_ros.running_node.environment import parameter_arguments
from training.tables import markdown_table

ROOT = Path(__file__).resolve().parents[1]
THIS = ("-m", "benchmarks.node_latency")
OWN_COST_LIMIT_MS = 3.0
AGREEMENT_LIMIT_MS = 1.0
NODE, RELAY = "fusion_node", "bare relay"


class Run(NamedTuple):
    """The measurements of one run, without the warm-up except in `lost`.

    A latency is from the stamp to the consumer's callback. A residence is from the middleware's
    reception of the visible frame in the consumer's process to that of the fused frame.
    """

    sent: int
    latencies_ms: list[float]
    residences_ms: list[float]
    lost: int
    twice: int
    disordered: int
    debug: dict[str, list[float]]
    cpu_s: float


class Check(NamedTuple):
    """One line of the verdict."""

    what: str
    limit: str
    found: str
    holds: bool


def make_run(camera: Mapping[str, Any], consumer: Mapping[str, Any], cpu_s: float) -> Run:
    """Compare what was sent with what arrived; latencies are of frames after the warm-up."""
    stamps = [stamp for stamp, _, _ in consumer["arrivals"]]
    first = {stamp: times for stamp, *times in reversed(consumer["arrivals"])}
    observed = {stamp: received_ns for stamp, received_ns, _ in consumer["observed"]}
    sent = camera["sent"]
    measured = [stamp for stamp in sent if stamp in first]
    return Run(
        sent=len(sent),
        latencies_ms=[(first[stamp][1] - stamp) / 1e6 for stamp in measured],
        residences_ms=[(first[s][0] - observed[s]) / 1e6 for s in measured if s in observed],
        lost=len({*camera["warm_up"], *sent} - set(first)),
        twice=len(stamps) - len(first),
        disordered=sum(after < before for before, after in zip(stamps, stamps[1:])),
        debug={
            # Those of the last warm-up frame may arrive after the first measured one was sent.
            name: [value for at_ns, value in values if at_ns >= sent[0]][-len(sent) :]
            for name, values in consumer["debug"].items()
        },
        cpu_s=cpu_s,
    )


def percentiles(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return p50 and p99; NaN of nothing."""
    p50, p99 = np.percentile(values, (50, 99)) if len(values) else (np.nan, np.nan)
    return float(p50), float(p99)


def own_cost_inside(node: Run) -> list[float]:
    """Return the own cost of each fused frame, from the node's own topics."""
    return [wait + own for wait, own in zip(node.debug["wait_ms"], node.debug["node_ms"])]


def own_cost_outside(node: Run, relay: Run) -> float:
    """Return the median own cost that the observer sees; see the top of this file."""
    engine_ms, residences_ms = np.array(node.debug["engine_ms"]), np.array(node.residences_ms)
    if len(engine_ms) == len(residences_ms):  # medians of skewed times do not add up
        without_engine_ms = percentiles(residences_ms - engine_ms)[0]
    else:
        without_engine_ms = percentiles(residences_ms)[0] - percentiles(engine_ms)[0]
    relay_ms, publish_ms = relay.residences_ms, relay.debug["relay_publish_ms"]
    return without_engine_ms - percentiles(relay_ms)[0] + percentiles(publish_ms)[0]


def together(first: Run, second: Run) -> Run:
    """Return two runs of the same node as one."""
    summed = (name for name in Run._fields if name != "debug")
    return Run(
        debug={name: values + second.debug[name] for name, values in first.debug.items()},
        **{name: getattr(first, name) + getattr(second, name) for name in summed},
    )


def verdict(node: Run, relay: Run, rate_hz: float) -> list[Check]:
    """Check the run against the limits that the node promises."""
    beyond_ms = percentiles(node.latencies_ms)[1] - percentiles(node.debug["engine_ms"])[1]
    inside_ms, outside_ms = percentiles(own_cost_inside(node))[0], own_cost_outside(node, relay)
    wrong = [node.lost, node.twice, node.disordered]
    limits = (
        ("p99 stamp to arrival, beyond the engine's p99", 1e3 / rate_hz, beyond_ms),
        ("own cost a frame (p50), inside", OWN_COST_LIMIT_MS, inside_ms),
        ("own cost a frame (p50), outside", OWN_COST_LIMIT_MS, outside_ms),
        ("inside and outside differ by", AGREEMENT_LIMIT_MS, abs(inside_ms - outside_ms)),
    )
    limit, found = (
        "{} lost, {} twice, {} disordered".format(*counts) for counts in ((0, 0, 0), wrong)
    )
    checks = [Check("every visible frame out once, in order", limit, found, not any(wrong))]
    for what, limit_ms, found_ms in limits:
        holds = found_ms <= limit_ms
        checks.append(Check(what, f"{limit_ms:.1f} ms", f"{found_ms:.2f} ms", holds))
    return checks


def report(runs: Mapping[str, Run], options: argparse.Namespace) -> None:
    """Print the tables."""
    from benchmarks.shared import node_roles as roles

    size, rate = f"{roles.WIDTH}x{roles.HEIGHT}", f"{options.rate_hz:g} Hz"
    print(f"{size} bgr8 and mono8 at {rate} for {options.seconds:g} s")
    columns = ("frames in", "out", "stamp to arrival p50, ms", "p99, ms", "cpu s")
    rows = {
        name: [run.sent, len(run.latencies_ms), *percentiles(run.latencies_ms), run.cpu_s]
        for name, run in runs.items()
    }
    print(markdown_table(columns, rows, ("d", "d", ".2f", ".2f", ".1f"), "node"))
    node, relay = runs[NODE], runs[RELAY]
    fused, out = len(node.debug["engine_ms"]), len(node.latencies_ms)
    print(f"\n{fused} of {out} frames that came out were fused, others passed\n")
    times = {
        "engine": node.debug["engine_ms"],
        "node's own cost: wait for the worker": node.debug["wait_ms"],
        "node's own cost: all else": node.debug["node_ms"],
        **{f"  of it {name[:-3]}": node.debug[name] for name in roles.STEPS},
        "node's own cost together": own_cost_inside(node),
        "observer: from the visible frame to the fused one": node.residences_ms,
        "observer: the same through the relay": relay.residences_ms,
        "the relay's publishing": relay.debug["relay_publish_ms"],
    }
    found = {what: percentiles(values) for what, values in times.items()}
    print(markdown_table(("p50, ms", "p99, ms"), found, ".2f", "of a fused frame"))
    checks = verdict(node, relay, options.rate_hz)
    told = {each.what: [each.limit, each.found, "yes" if each.holds else "NO"] for each in checks}
    print("\n" + markdown_table(("limit", "found", "holds"), told, corner="promised"))


def measure(name: str, arguments: Sequence[str], options: argparse.Namespace) -> Run:
    """Run camera, consumer and the node under test; return counts and latencies.

    Raises:
        EngineError: A process ended with an error, or did not end.
    """
    for variable in environments.TRANSPORT_VARIABLES:  # the profile alone decides
        os.environ.pop(variable, None)
    environment = environments.make_environment(60 + os.getpid() % 40, options.dds_profile)
    path = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    seconds = options.seconds / 2 if name == RELAY else options.seconds
    shared = ["--seconds", str(seconds), "--rate-hz", str(options.rate_hz)]
    shared += ["--warm-up-s", str(options.warm_up_s)]

    def helper(role: str) -> ChildProcess:
        given = [*THIS, "--role", role, *shared]
        return ChildProcess(f"benchmark's {role}", given, environment, with_stdout=True)

    with ChildProcess(name, arguments, environment) as node:
        time.sleep(options.settle_s)
        with helper("consumer") as consumer, helper("camera") as camera:
            limit_s = seconds + options.warm_up_s + 90.0
            sent = json.loads(camera.output(limit_s))
            seen = json.loads(consumer.output(limit_s))
        node.check_running()
        return make_run(sent, seen, node.cpu_time_s())


def compare(options: argparse.Namespace) -> None:
    """Measure relay, stock pairing where installed, and the node; print the tables."""
    if options.reference_engine_ms is None:
        node = ["-m", environments.NODE_MODULE, "--ros-args"]
    else:
        milliseconds = str(options.reference_engine_ms)
        node = [*THIS, "--role", "node", "--reference-engine-ms", milliseconds, "--ros-args"]
    names = ("model", "backend", "threads")
    node += parameter_arguments({name: getattr(options, name) for name in names})
    relay = [*THIS, "--role", "relay"]
    before = measure(RELAY, relay, options)
    runs = {NODE: measure(NODE, node, options)}
    runs[RELAY] = together(before, measure(RELAY, relay, options))
    if importlib.util.find_spec("message_filters"):
        paired = [*node, *parameter_arguments({"pairing": "message_filters"})]
        for name, arguments in (
            ("bare relay behind message_filters", [*THIS, "--role", "stock"]),
            ("fusion_node, pairing: message_filters", paired),
        ):
            runs[name] = measure(name, arguments, options)
    else:
        print("message_filters is not installed here, so the stock pairing is not measured")
    report(runs, options)


def main() -> int:
    """Parse the command line and run the role."""
    parser = make_parser(__doc__, "backend threads")
    add = parser.add_argument
    add("--seconds", type=float, default=60.0)
    add("--rate-hz", type=float, default=30.0)
    add("--settle-s", type=float, default=5.0, help="for the engine to load")
    add("--warm-up-s", type=float, default=3.0, help="before the measurement")
    add("--model", default="auto")
    add("--reference-engine-ms", type=float, default=None)
    add("--no-dds-profile", dest="dds_profile", action="store_false")
    add("--role", default="compare", help=argparse.SUPPRESS)
    options, ros_arguments = parser.parse_known_args()
    from benchmarks.shared import node_roles as roles  # needs rclpy

    if options.role == "node":
        return roles.run_reference_node(options.reference_engine_ms, ros_arguments)
    if options.role == "camera":
        roles.run_camera(options.seconds, options.rate_hz, options.warm_up_s)
    elif options.role == "consumer":
        roles.run_consumer(options.seconds + options.warm_up_s)
    elif options.role in ("relay", "stock"):
        roles.run_relay(pairing=options.role == "stock")
    else:
        compare(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
