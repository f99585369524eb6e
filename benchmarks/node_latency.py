"""What the fusion node adds to a frame: node, bare relay and stock pairing, each as a process.

A camera process publishes both streams (640x480 at 30 Hz), the node under test runs in a process
of its own, a consumer process takes what comes out. Latency is stamp to arrival at the consumer.
The node's own cost is all but the engine: what it reads, rescales, registers, writes and
publishes, and what a frame waits for its worker. It is told twice::

    inside     wait_ms + node_ms of the node's latency topics, frame by frame
    outside    what an observer in the consumer's process sees: the time from the middleware's
               reception of the visible frame, which the node receives at that moment too, to that
               of the fused one; less the engine's; less the same time through a bare relay, and
               plus what that relay spends on publishing, since the node has to do that, too

and both have to agree. Examples::

    python benchmarks/node_latency.py --seconds 60
    python benchmarks/node_latency.py --seconds 10 --backend openvino --model nano

`--reference-engine-ms 8` replaces the engine by one that waits so long (and fuses by maximum), to
measure the node where no model or engine is installed. The large-image DDS profile is used in all
processes; `--no-dds-profile` shows what happens without. Where ROS's message_filters is installed,
its pairing is measured too: before a bare relay, and selected in the node. The relay is measured
before and after the node, half as long each.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.node_latency_roles import (  # noqa: E402
    HEIGHT,
    STEPS,
    WIDTH,
    run_camera,
    run_consumer,
    run_reference_node,
    run_relay,
)

PROFILE = os.path.join(ROOT, "config", "fastdds_large_images.xml")
OWN_COST_LIMIT_MS = 3.0
AGREEMENT_LIMIT_MS = 1.0
NODE, RELAY = "fusion_node", "bare relay"


class Run(NamedTuple):
    """What one run measured, in milliseconds, the warm-up left out but for `lost`.

    A latency is from the stamp to the consumer's callback. A residence is from the middleware's
    reception of the visible frame, at an observer beside the node, to that of the fused frame.
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


def make_run(camera: dict, consumer: dict, cpu_s: float) -> Run:
    """Compare what was sent with what arrived. Latencies are of frames after the warm-up."""
    every = camera["warm_up"] + camera["sent"]
    stamps = [stamp for stamp, _, _ in consumer["arrivals"]]
    first: dict[int, tuple[int, int]] = {}
    for stamp, received_ns, callback_ns in consumer["arrivals"]:
        first.setdefault(stamp, (received_ns, callback_ns))
    beside = {stamp: received_ns for stamp, received_ns, _ in consumer["observed"]}
    measured = [stamp for stamp in camera["sent"] if stamp in first]
    begin_ns = camera["sent"][0]
    return Run(
        sent=len(camera["sent"]),
        latencies_ms=[(first[stamp][1] - stamp) / 1e6 for stamp in measured],
        residences_ms=[(first[s][0] - beside[s]) / 1e6 for s in measured if s in beside],
        lost=len(set(every) - set(first)),
        twice=len(stamps) - len(first),
        disordered=sum(after < before for before, after in zip(stamps, stamps[1:])),
        debug={
            # Those of the last warm-up frame may arrive after the first measured one was sent.
            name: [value for at_ns, value in values if at_ns >= begin_ns][-len(camera["sent"]) :]
            for name, values in consumer["debug"].items()
        },
        cpu_s=cpu_s,
    )


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return p50 and p99; NaN of nothing."""
    if not values:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(values, (50, 99))
    return float(p50), float(p99)


def own_cost_inside(node: Run) -> list[float]:
    """Return wait and node's cost of each fused frame, by the node's own topics."""
    return [wait + own for wait, own in zip(node.debug["wait_ms"], node.debug["node_ms"])]


def own_cost_outside(node: Run, relay: Run) -> float:
    """Return the median own cost as the observer sees it; see the top of this file.

    Where every frame was fused, each frame's own engine time is taken off: medians of skewed
    times do not add up.
    """
    engine_ms = np.array(node.debug["engine_ms"])
    residences_ms = np.array(node.residences_ms)
    if len(engine_ms) == len(residences_ms):
        beside_engine = percentiles(list(residences_ms - engine_ms))[0]
    else:
        beside_engine = (
            percentiles(node.residences_ms)[0] - percentiles(node.debug["engine_ms"])[0]
        )
    relay_ms = percentiles(relay.residences_ms)[0]
    return beside_engine - relay_ms + percentiles(relay.debug["relay_publish_ms"])[0]


def together(first: Run, second: Run) -> Run:
    """Return two runs of the same node as one."""
    return Run(
        *(a + b for a, b in zip(first[:-2], second[:-2])),
        debug={name: values + second.debug[name] for name, values in first.debug.items()},
        cpu_s=first.cpu_s + second.cpu_s,
    )


def verdict(node: Run, relay: Run, rate_hz: float) -> list[Check]:
    """Hold the run against what the node promises."""
    period_ms = 1e3 / rate_hz
    beyond = percentiles(node.latencies_ms)[1] - percentiles(node.debug["engine_ms"])[1]
    inside = percentiles(own_cost_inside(node))[0]
    outside = own_cost_outside(node, relay)
    wrong = [node.lost, node.twice, node.disordered]
    return [
        Check(
            "every visible frame out once, in order",
            "0 lost, 0 twice, 0 disordered",
            "{} lost, {} twice, {} disordered".format(*wrong),
            not any(wrong),
        ),
        Check(
            "p99 stamp to arrival, beyond the engine's p99",
            f"{period_ms:.1f} ms",
            f"{beyond:.2f} ms",
            beyond <= period_ms,
        ),
        Check(
            "own cost a frame (p50), inside",
            f"{OWN_COST_LIMIT_MS:.1f} ms",
            f"{inside:.2f} ms",
            inside <= OWN_COST_LIMIT_MS,
        ),
        Check(
            "own cost a frame (p50), outside",
            f"{OWN_COST_LIMIT_MS:.1f} ms",
            f"{outside:.2f} ms",
            outside <= OWN_COST_LIMIT_MS,
        ),
        Check(
            "inside and outside differ by",
            f"{AGREEMENT_LIMIT_MS:.1f} ms",
            f"{abs(inside - outside):.2f} ms",
            abs(inside - outside) <= AGREEMENT_LIMIT_MS,
        ),
    ]


def report(runs: dict[str, Run], options: argparse.Namespace) -> None:
    """Print the tables."""
    print(f"{WIDTH}x{HEIGHT} bgr8 and mono8 at {options.rate_hz:g} Hz for {options.seconds:g} s")
    print("| node | frames in | out | stamp to arrival p50 | p99 | cpu s |")
    print("|---|---|---|---|---|---|")
    for name, run in runs.items():
        p50, p99 = percentiles(run.latencies_ms)
        out = len(run.latencies_ms)
        print(f"| {name} | {run.sent} | {out} | {p50:.2f} ms | {p99:.2f} ms | {run.cpu_s:.1f} |")
    node, relay = runs[NODE], runs[RELAY]
    fused = len(node.debug["engine_ms"])
    print(
        f"\n{fused} of {len(node.latencies_ms)} frames that came out were fused, others passed\n"
    )
    print("| of a fused frame | p50 | p99 |")
    print("|---|---|---|")
    for what, values in (
        ("engine", node.debug["engine_ms"]),
        ("node's own cost: wait for the worker", node.debug["wait_ms"]),
        ("node's own cost: all else", node.debug["node_ms"]),
        *((f"  of it {name[:-3]}", node.debug[name]) for name in STEPS),
        ("node's own cost together", own_cost_inside(node)),
        ("observer: from the visible frame to the fused one", node.residences_ms),
        ("observer: the same through the relay", relay.residences_ms),
        ("the relay's publishing", relay.debug["relay_publish_ms"]),
    ):
        print("| {} | {:.2f} ms | {:.2f} ms |".format(what, *percentiles(values)))
    print("\n| promised | limit | found | holds |")
    print("|---|---|---|---|")
    for check in verdict(node, relay, options.rate_hz):
        holds = "yes" if check.holds else "NO"
        print(f"| {check.what} | {check.limit} | {check.found} | {holds} |")


def start(arguments: list[str], environment: dict[str, str], capture: bool = False):
    """Start `python ARGUMENTS`; its standard error, where a fault would be told, stays ours."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
        stderr=None if capture else subprocess.DEVNULL,
        text=True,
    )


def measure(node_arguments: list[str], options: argparse.Namespace, seconds: float) -> Run:
    """Run camera, the given node and consumer; return counts and latencies."""
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
    environment = dict(os.environ, ROS_LOCALHOST_ONLY="1", PYTHONPATH=path)
    environment["ROS_DOMAIN_ID"] = str(60 + os.getpid() % 40)
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        environment.pop(name, None)
        if options.dds_profile:
            environment[name] = PROFILE
    this = os.path.abspath(__file__)
    node = start(node_arguments, environment)
    others: list[subprocess.Popen] = []
    try:
        time.sleep(options.settle_s)
        shared = ["--seconds", str(seconds), "--rate-hz", str(options.rate_hz)]
        shared += ["--warm-up-s", str(options.warm_up_s)]
        for role in ("consumer", "camera"):
            others.append(start([this, "--role", role, *shared], environment, capture=True))
        consumer, camera = others
        limit_s = seconds + options.warm_up_s + 90.0
        sent = json.loads(camera.communicate(timeout=limit_s)[0])
        seen = json.loads(consumer.communicate(timeout=limit_s)[0])
    finally:
        cpu_s = cpu_time_s(node.pid)
        for other in others:
            other.kill()  # ended already, unless something went wrong
        node.send_signal(signal.SIGINT)
        node.wait(20)
    return make_run(sent, seen, cpu_s)


def cpu_time_s(pid: int) -> float:
    """Return the processor time that a process has used (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(options: argparse.Namespace) -> int:
    """Measure relay, stock pairing where installed, and the node; print the tables."""
    this = os.path.abspath(__file__)
    if options.reference_engine_ms is None:
        node = ["-m", "irvis_fusion_ros.node.fusion_node", "--ros-args"]
    else:
        milliseconds = str(options.reference_engine_ms)
        node = [this, "--role", "node", "--reference-engine-ms", milliseconds, "--ros-args"]
    for name in ("model", "backend", "threads"):
        node += ["-p", f"{name}:={getattr(options, name)}"]
    bare = [this, "--role", "relay"]
    before = measure(bare, options, options.seconds / 2)
    runs = {NODE: measure(node, options, options.seconds)}
    runs[RELAY] = together(before, measure(bare, options, options.seconds / 2))
    if importlib.util.find_spec("message_filters"):
        stock = [this, "--role", "stock"]
        runs["bare relay behind message_filters"] = measure(stock, options, options.seconds)
        selected = [*node, "-p", "pairing:=message_filters"]
        runs["fusion_node, pairing: message_filters"] = measure(selected, options, options.seconds)
    else:
        print("message_filters is not installed here, so the stock pairing is not measured")
    report(runs, options)
    return 0


def main() -> int:
    """Parse the command line and play the role."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--settle-s", type=float, default=5.0, help="for the engine to load")
    parser.add_argument("--warm-up-s", type=float, default=3.0, help="frames before the measured")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="the engine's; 0: its own choice")
    parser.add_argument("--reference-engine-ms", type=float, default=None)
    parser.add_argument("--no-dds-profile", dest="dds_profile", action="store_false")
    parser.add_argument("--role", default="compare", help=argparse.SUPPRESS)
    options, ros_arguments = parser.parse_known_args()
    if options.role == "camera":
        run_camera(options.seconds, options.rate_hz, options.warm_up_s)
    elif options.role == "consumer":
        run_consumer(options.seconds + options.warm_up_s)
    elif options.role in ("relay", "stock"):
        run_relay(pairing=options.role == "stock")
    elif options.role == "node":
        return run_reference_node(options.reference_engine_ms, ros_arguments)
    else:
        return compare(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
