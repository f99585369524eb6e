r"""Measure what the fusion node adds to a frame, against bare relays and ROS's stock pairing.

A camera process publishes both streams (--size, --rate), the node under test and a consumer of
its output run in processes of their own. Latency is from the stamp to arrival at the consumer. The
node's own cost is everything but the engine: reading, rescaling, registering, writing and
publishing a frame, and waiting for the worker. Two measurements of it have to agree::

    inside     wait_ms + node_ms of the node's latency topics, frame by frame
    outside    by an observer in the consumer's process: the time from the middleware's reception
               of the visible frame (the node receives it at the same moment) to that of the fused
               one, minus the engine's, minus the same time through a bare relay, plus the relay's
               time to publish, which the node has to spend as well

    python -m benchmarks.node_latency --seconds 60 [--backend openvino] [--model nano]

`--reference-engine-ms 8` replaces the engine by one that waits that long and fuses by maximum; one
of 0 gives a stored image at once, so that the processor time of the process is the node's own::

    python -m benchmarks.node_latency --reference-engine-ms 0 --cpu-alone --size 1280x1024 \
        --rounds 5 --beside CHECKOUT

With `--beside` the node of another checkout runs in turns with this one. All processes use the
DDS profile for large images, unless `--no-dds-profile` is given. The relays republish the visible
image, as message objects and as the bytes of serialized messages. Measured too, where they are
installed: ROS's image_proc (its resize node, to the same size), and message_filters, in front of a
relay and in the node. Each runs `--rounds` times, in turns.
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
from collections import Counter
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
NODE, BESIDE = "fusion_node", "fusion_node of the other checkout"
RELAY, OBJECT_RELAY = "bare relay, serialized messages", "bare relay, message objects"
IMAGE_PROC = "image_proc's resize_node"


class Run(NamedTuple):
    """The measurements of one run, without the warm-up except in `lost`.

    A latency is from the stamp to the consumer's callback. A residence is from the middleware's
    reception of the visible frame in the consumer's process to that of the fused frame. `counted`
    is what the node says of its frames, with the warm-up. `cpu_s` and `executor_s` are processor
    times of the node's process and of its executor's thread.
    """

    sent: int
    latencies_ms: list[float]
    residences_ms: list[float]
    lost: int
    twice: int
    disordered: int
    debug: dict[str, list[float]]
    cpu_s: float
    executor_s: float
    counted: dict[str, int]

    @property
    def cpu_ms(self) -> float:
        """Processor time a frame."""
        return 1e3 * self.cpu_s / max(1, self.sent)


class Check(NamedTuple):
    """One line of the verdict."""

    what: str
    limit: str
    found: str
    holds: bool


def make_run(camera: Mapping[str, Any], consumer: Mapping[str, Any]) -> Run:
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
        cpu_s=camera["cpu_s"],
        executor_s=camera["executor_s"],
        counted=consumer["counted"],
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


def together(runs: Sequence[Run]) -> Run:
    """Return the runs of one node as one."""
    first, *others = runs
    for other in others:
        apart = ("debug", "counted")
        summed = {n: getattr(first, n) + getattr(other, n) for n in Run._fields if n not in apart}
        debug = {name: values + other.debug[name] for name, values in first.debug.items()}
        counted = Counter(first.counted) + Counter(other.counted)
        first = Run(debug=debug, counted=dict(counted), **summed)
    return first


def whereabouts(node: Run) -> str:
    """Return where the node's frames went, as it counts them itself: a sentence."""
    counted = node.counted
    if not counted:
        return "where frames were lost is not known: no diagnostics of the node arrived"
    lost, dropped, left = (
        sum(count for name, count in counted.items() if name.startswith(begin))
        for begin in ("lost: ", "frames dropped", ("frames fused", "frames passed"))
    )
    after = node.lost - lost - dropped
    return (
        f"of {counted.get('published', 0)} visible frames, warm-up included, {lost} did not reach "
        f"the node, it dropped {dropped}, and let {left} out; {after} did not reach the consumer "
        "after that"
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


def report(all_runs: Mapping[str, Sequence[Run]], options: argparse.Namespace) -> None:
    from benchmarks.shared import node_roles as roles

    size, rate = "{}x{}".format(*options.size), f"{options.rate_hz:g} Hz"
    print(f"{size} bgr8 and mono8 at {rate}, {options.rounds} times {options.seconds:g} s")
    runs = {name: together(each) for name, each in all_runs.items()}
    columns = ["frames in", "out", "stamp to arrival p50, ms", "p99, ms", "CPU, ms a frame"]
    formats = ["d", "d", ".2f", ".2f", ".2f"]
    rows = {
        name: [run.sent, len(run.latencies_ms), *percentiles(run.latencies_ms), run.cpu_ms]
        for name, run in runs.items()
    }
    for other in (name for name in (RELAY, BESIDE) if name in runs):
        # Of each round alone: what else runs on the machine changes between them.
        columns, formats = [*columns, f"of {other}"], [*formats, ".2f"]
        for name, each in all_runs.items():
            rows[name].append(
                float(np.median([a.cpu_ms / b.cpu_ms for a, b in zip(each, all_runs[other])]))
            )
    print(markdown_table(columns, rows, formats, "node"))
    node, relay = runs[NODE], runs[RELAY]
    share = node.executor_s * options.rate_hz / max(1, node.sent)
    print(f"\nthe thread of the node's executor took {share:.0%} of a core")
    if options.cpu_alone:
        return
    fused, out = len(node.debug["engine_ms"]), len(node.latencies_ms)
    print(f"\n{fused} of {out} frames that came out were fused, others passed")
    print(whereabouts(node) + "\n")
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
    of_node = dict(environment)
    if name == BESIDE:
        of_node["PYTHONPATH"] = os.pathsep.join([str(options.beside), environment["PYTHONPATH"]])
    shared = ["--seconds", str(options.seconds), "--rate-hz", str(options.rate_hz)]
    shared += ["--warm-up-s", str(options.warm_up_s), "--size", "{}x{}".format(*options.size)]

    def helper(role: str, *more: str) -> ChildProcess:
        given = [*THIS, "--role", role, *shared, *more]
        return ChildProcess(f"benchmark's {role}", given, environment, with_stdout=True)

    with ChildProcess(name, arguments, of_node) as node:
        time.sleep(options.settle_s)
        with helper("consumer", *(["--cpu-alone"] if options.cpu_alone else [])) as consumer:
            time.sleep(options.settle_s / 2)  # processes that start at once may miss each other
            with helper("camera", "--watched", str(node.pid)) as camera:
                limit_s = options.seconds + options.warm_up_s + 90.0
                sent = json.loads(camera.output(limit_s))
                seen = json.loads(consumer.output(limit_s))
        node.check_running()
        return make_run(sent, seen)


def image_proc_arguments() -> list[str] | None:
    """Return what runs image_proc's resize node as a relay; None where it is not installed."""
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    paths = [Path(prefix) / "lib" / "image_proc" / "resize_node" for prefix in prefixes]
    found = next((str(path) for path in paths if path.is_file()), None)
    if found is None:
        return None
    # A ChildProcess is a Python, which becomes the node here.
    become = ["-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])", found]
    topics = ["image/image_raw:=vis/image_raw", "image/camera_info:=vis/camera_info"]
    topics.append("resize/image_raw:=fused/image_raw")
    parameters = {"use_scale": True, "scale_width": 1.0, "scale_height": 1.0}
    remaps = [part for topic in topics for part in ("-r", topic)]
    return [*become, "--ros-args", *remaps, *parameter_arguments(parameters)]


def nodes_to_measure(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the arguments of Python for each node, by its name."""
    engine_ms = options.reference_engine_ms
    if engine_ms is None:
        node = ["-m", environments.NODE_MODULE]
    else:
        node = [*THIS, "--role", "node", "--reference-engine-ms", str(engine_ms)]
    names = ("model", "backend", "threads")
    # Every frame has to come out, however slow the engine is here.
    values = {**{name: getattr(options, name) for name in names}, "on_overrun": "passthrough"}
    given = parameter_arguments(values)
    for each in options.parameter:
        given += ["-p", each]
    node += ["--ros-args", *given]
    nodes = {
        OBJECT_RELAY: [*THIS, "--role", "relay"],
        RELAY: [*THIS, "--role", "serialized_relay"],
        NODE: node,
    }
    if options.beside is not None:
        roles = str(ROOT / "benchmarks" / "shared" / "node_roles.py")
        other = [roles, str(engine_ms)] if engine_ms is not None else node[:2]
        nodes[BESIDE] = [*other, "--ros-args", *given]
    image_proc = image_proc_arguments()
    if image_proc is None:
        print("image_proc is not installed here, so its resize node is not measured")
    else:
        nodes[IMAGE_PROC] = image_proc
    if importlib.util.find_spec("message_filters"):
        nodes["message objects behind message_filters"] = [*THIS, "--role", "stock"]
        paired = parameter_arguments({"pairing": "message_filters"})
        nodes["fusion_node, pairing: message_filters"] = [*node, *paired]
    else:
        print("message_filters is not installed here, so the stock pairing is not measured")
    return nodes


def compare(options: argparse.Namespace) -> None:
    """Measure all nodes in turns; print the tables."""
    nodes = nodes_to_measure(options)
    runs: dict[str, list[Run]] = {name: [] for name in nodes}
    for number in range(options.rounds):
        for name in list(nodes)[:: -1 if number % 2 else 1]:
            runs[name].append(measure(name, nodes[name], options))
    report(runs, options)


def image_size(text: str) -> tuple[int, int]:
    """Return (width, height) of `WxH`."""
    width, height = (int(part) for part in text.lower().split("x"))
    return width, height


def main() -> int:
    parser = make_parser(__doc__, "backend threads")
    add = parser.add_argument
    add("--seconds", type=float, default=60.0)
    add("--size", type=image_size, default=(640, 480), metavar="WxH", help="of both cameras")
    add("--rate", "--rate-hz", dest="rate_hz", type=float, default=30.0, help="in Hz")
    add("--rounds", type=int, default=1, help="how often each node runs, in turns")
    add("--beside", type=Path, metavar="CHECKOUT", help="also measure the node of this one")
    add("--settle-s", type=float, default=5.0, help="for the engine to load")
    add("--warm-up-s", type=float, default=3.0, help="before the measurement")
    add("--model", default="auto")
    add("--parameter", action="append", default=[], metavar="NAME:=VALUE", help="of the node")
    add("--reference-engine-ms", type=float, default=None)
    add("--no-dds-profile", dest="dds_profile", action="store_false")
    add("--cpu-alone", action="store_true", help="leave out the latency topics, which cost, too")
    add("--role", default="compare", help=argparse.SUPPRESS)
    add("--watched", type=int, help=argparse.SUPPRESS)
    options, ros_arguments = parser.parse_known_args()
    from benchmarks.shared import node_roles as roles  # needs rclpy

    if options.role == "node":
        return roles.run_reference_node(options.reference_engine_ms, ros_arguments)
    if options.role == "camera":
        times = (options.seconds, options.rate_hz, options.warm_up_s)
        roles.run_camera(options.size, *times, options.watched)
    elif options.role == "consumer":
        roles.run_consumer(options.seconds + options.warm_up_s, not options.cpu_alone)
    elif options.role in ("relay", "serialized_relay", "stock"):
        serialized = options.role == "serialized_relay"
        roles.run_relay(pairing=options.role == "stock", serialized=serialized)
    else:
        compare(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
