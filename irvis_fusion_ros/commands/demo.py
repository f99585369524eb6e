"""Show the fusion node at work: cameras, node and people detectors as processes of their own.

examples::

  irvis_fusion demo
  irvis_fusion demo --seconds 20 --output out/demo --model small
  DEMO_PAIRS=my_pairs irvis_fusion demo      (a folder with IR/ and VIS/)
  DEMO_BAG=my_bag irvis_fusion demo          (a ROS 2 bag, sqlite3 or MCAP)

One process plays pairs (a night street that is drawn, or your own) as two camera drivers would,
the fusion node runs as it does on a robot, and the same people detector runs twice: on the
visible topic, and remapped onto the fused one. Without ROS the core alone is shown.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from irvis_fusion_core.command_line import command, print_table
from irvis_fusion_core.commands.demo import make_demo_parser, show_core
from irvis_fusion_core.errors import ConfigurationError, EngineError
from irvis_fusion_ros.demo.demo_bag import add_bag_options, pairs_of_bag

NAMESPACE = "/irvis_fusion_demo"
START_TIMEOUT_S = 120.0  # TensorRT may have an engine to build
SETTLE_S = 2.0
TRANSPORT_VARIABLES = (
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTDDS_BUILTIN_TRANSPORTS",
)
"""Whoever sets one of these has decided how images travel; the profile goes into the first two."""


@command
def main(arguments: List[str]) -> int:
    """Run the demo."""
    parser = make_demo_parser()
    parser.description, _, rest = (__doc__ or "").partition("\n")
    parser.epilog = rest.strip("\n").replace("::", ":")
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure (default: 10)")
    parser.add_argument("--rate-hz", type=float, default=30.0, help="of the cameras (default: 30)")
    parser.add_argument("--no-ros", action="store_true", help="show the core alone")
    add_bag_options(parser)
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.rate_hz <= 0:
        raise ConfigurationError(
            f"expected --seconds and --rate-hz above 0, found {options.seconds} and "
            f"{options.rate_hz}"
        )
    with pairs_of_bag(options):
        show_core(options)
        if options.no_ros:
            return 0
        missing = why_no_ros()
        if missing:
            print(f"\nThe core alone was shown, without the node: {missing}")
            return 0
        show_node(options)
    return 0


def why_no_ros() -> Optional[str]:
    """Why the node cannot run here; None where it can."""
    for module in ("rclpy", "sensor_msgs", "diagnostic_msgs", "lifecycle_msgs", "std_srvs"):
        if importlib.util.find_spec(module) is None:
            return (
                f"{module} is not installed; source a ROS 2 installation, or on x86-64 Linux "
                "`pip install irvis_fusion[ros]`"
            )
    return None


def show_node(options: Any) -> None:
    """Run cameras, node and detectors for a while, and print the table."""
    from irvis_fusion_ros.demo.demo_report import make_stream, make_table
    from irvis_fusion_ros.demo.demo_watch import NodeWatch

    print(
        f"\nThe node, {options.seconds:.0f} s at {options.rate_hz:.0f} Hz: cameras, fusion node "
        "and two detectors, each a process of its own",
        flush=True,
    )
    environment = make_environment()
    os.environ.update(environment)  # read by the middleware when the watch below starts
    images = os.path.join(options.output, "node")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        records = {name: os.path.join(folder, name) for name in ("cameras", "vis", "fused")}
        for name, module, arguments in processes(options, records, images):
            stack.enter_context(running(name, module, arguments, environment))
        with NodeWatch(NAMESPACE) as watch:
            engine = watch.wait_until_fusing(START_TIMEOUT_S)
            watch.wait(SETTLE_S)
            before, begin_ns = watch.outcomes(), time.time_ns()
            watch.wait(options.seconds)
            after, end_ns = watch.outcomes(), time.time_ns()
            watch.wait(0.5)  # the last frames are on their way
        stack.close()  # ends the processes, which write their records
        published, vis, fused = (load(records[name]) for name in ("cameras", "vis", "fused"))
    window = (begin_ns, end_ns)
    streams = {
        "vis/image_raw": make_stream(published, vis, window),
        "fused/image_raw": make_stream(published, fused, window),
    }
    print(engine)
    print_table(make_table(streams))
    counted = {name: after[name] - before.get(name, 0) for name in after}
    print(
        "p50 and p99 are from stamp to arrival. The node counted meanwhile, by its reports once a "
        "second: " + ", ".join(f"{name} {number}" for name, number in counted.items() if number)
    )
    print(f"The detector is the same program both times; what it saw is in {images}")


def processes(
    options: Any, records: Dict[str, str], images: str
) -> Iterator[Tuple[str, str, List[str]]]:
    """(name, module, arguments) of each process, in the order of starting."""
    yield "fusion node", "irvis_fusion_ros.node.fusion_node", node_arguments(options)
    for name in ("vis", "fused"):
        arguments = ["--record", records[name], "--images", os.path.join(images, name)]
        remaps = ["-r", f"image:={name}/image_raw", "-r", f"__node:=detector_on_{name}"]
        yield (
            f"detector on {name}",
            "irvis_fusion_ros.demo.demo_detector",
            arguments + ros_arguments(remaps),
        )
    arguments = ["--record", records["cameras"], "--rate-hz", str(options.rate_hz)]
    if options.pairs:
        arguments += ["--pairs", options.pairs]
    yield "cameras", "irvis_fusion_ros.demo.demo_cameras", arguments + ros_arguments([])


def make_environment() -> Dict[str, str]:
    """The environment of the demo's processes: this machine only, shared memory for images."""
    environment = dict(os.environ)
    if environment.get("ROS_DISTRO") == "humble":
        environment.setdefault("ROS_LOCALHOST_ONLY", "1")
    else:
        environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    profile = find_config("fastdds_large_images.xml")
    if profile is not None and not any(map(environment.get, TRANSPORT_VARIABLES)):
        environment.update(dict.fromkeys(TRANSPORT_VARIABLES[:2], profile))
    return environment


def find_config(name: str) -> Optional[str]:
    """A file of `config/`: of the source tree, or where pip or colcon put it."""
    source = str(Path(__file__).resolve().parents[2])
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    places = [os.path.join(source, "config")]
    places += [os.path.join(p, "share", "irvis_fusion", "config") for p in prefixes if p]
    for place in places:
        if os.path.isfile(os.path.join(place, name)):
            return os.path.join(place, name)
    return None


def node_arguments(options: Any) -> List[str]:
    """The engine options of the command line as parameters of the node."""
    given = {
        "model": options.model,
        "backend": options.backend,
        "precision": options.precision,
        "device": options.device,
        "engine_cache_dir": options.cache_dir,
        "threads": options.threads or None,
    }
    parameters: List[str] = []
    for name, value in given.items():
        if value is not None:
            parameters += ["-p", f"{name}:={value}"]
    return ros_arguments(parameters)


def ros_arguments(arguments: List[str]) -> List[str]:
    """ROS arguments in the demo's own namespace, so that a robot's topics are left alone."""
    return ["--ros-args", "-r", f"__ns:={NAMESPACE}", "--log-level", "warn", *arguments]


@contextlib.contextmanager
def running(
    name: str, module: str, arguments: List[str], environment: Dict[str, str]
) -> Iterator[None]:
    """A process of ours, ended as by Ctrl-C at the end of the block."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment)
    try:
        yield
        if process.poll() is not None:
            raise EngineError(
                f"expected the demo's {name} to run to the end, found that it ended with status "
                f"{process.returncode}; its own message is above"
            )
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(path: str) -> Any:
    """A record that a process wrote when it ended.

    Raises:
        EngineError: it wrote none.
    """
    try:
        with open(path) as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"expected a process of the demo to leave {os.path.basename(path)}, found: {error}; "
            "its own message is above"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
