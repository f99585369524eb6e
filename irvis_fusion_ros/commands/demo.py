"""Show the fusion node at work: cameras, node and people detectors, each a process of its own.

examples::

  irvis_fusion demo
  irvis_fusion demo --seconds 20 --output out/demo --model small
  DEMO_PAIRS=my_pairs irvis_fusion demo      (a folder with IR/ and VIS/)
  DEMO_BAG=my_bag irvis_fusion demo          (a ROS 2 bag, sqlite3 or MCAP)

One process plays pairs (a drawn night street, or your own) as two camera drivers would, the fusion
node runs as it does on a robot, and the same people detector runs twice: on the visible topic, and
remapped onto the fused one. Without ROS only the core is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from irvis_fusion_core.command_line import command, print_table
from irvis_fusion_core.commands.demo import make_demo_parser, show_core
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.bag_pairs import MOST_PAIRS, bag_pairs, write_pairs
from irvis_fusion_ros.bags.bag_topics import add_partial_option, choose_topics, on_incomplete
from irvis_fusion_ros.demo.node_run import make_table, run_node
from irvis_fusion_ros.running_node.environment import why_no_ros


@command
def main(arguments: list[str]) -> int:
    parser = make_demo_parser()
    parser.description, _, rest = (__doc__ or "").partition("\n")
    parser.epilog = rest.strip("\n").replace("::", ":")
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure (default: 10)")
    parser.add_argument("--rate-hz", type=float, default=30.0, help="of the cameras (default: 30)")
    parser.add_argument("--no-ros", action="store_true", help="show the core alone")
    add_bag_options(parser)
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.rate_hz <= 0:
        found = f"{options.seconds} and {options.rate_hz}"
        raise ConfigurationError(f"expected --seconds and --rate-hz above 0, found {found}")
    with pairs_of_bag(options):
        show_core(options)
        if options.no_ros:
            return 0
        missing = why_no_ros()
        if missing:
            print(f"\nThe core alone was shown, without the node: {missing}")
            return 0
        print(
            f"\nThe node, {options.seconds:.0f} s at {options.rate_hz:.0f} Hz: cameras, fusion "
            "node and two detectors, each a process of its own",
            flush=True,
        )
        images = os.path.join(options.output, "node")
        run = run_node(options, images)
    counted = ", ".join(f"{name} {number}" for name, number in run.outcomes.items() if number)
    print(run.engine)
    print_table(make_table(run.streams))
    print(
        "p50 and p99 are from stamp to arrival. The node counted meanwhile, by its reports once a "
        f"second: {counted}"
    )
    print(f"The detector is the same program both times; what it saw is in {images}")
    return 0


def add_bag_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a bag; the environment gives their defaults."""
    text = f"ROS 2 bag, sqlite3 or MCAP, its first {MOST_PAIRS} pairs (default: $DEMO_BAG)"
    parser.add_argument("--bag", default=os.environ.get("DEMO_BAG"), metavar="BAG", help=text)
    for name, kind in (("ir", "thermal"), ("vis", "visible")):
        variable = f"DEMO_{name.upper()}_TOPIC"
        text = f"{kind} images of the bag (default: ${variable}, else guessed)"
        given = os.environ.get(variable)
        parser.add_argument(f"--{name}-topic", default=given, metavar="TOPIC", help=text)
    add_partial_option(parser)
    text = "added to thermal stamps of the bag before they are paired (default: 0)"
    parser.add_argument("--ir-time-offset-s", type=float, default=0.0, metavar="S", help=text)


@contextlib.contextmanager
def pairs_of_bag(options: argparse.Namespace) -> Iterator[None]:
    """Let `options.pairs` name a folder with the bag's pairs within the block, if there is a bag.

    Raises:
        BagError: The bag cannot be read, or has no pairs.
        ConfigurationError: A bag and a folder of pairs were given.
    """
    if not options.bag:
        yield
        return
    if options.pairs:
        raise ConfigurationError(
            f"expected a bag or a folder of pairs, found both: {options.bag} and {options.pairs}; "
            "unset DEMO_BAG or DEMO_PAIRS"
        )
    topics = choose_topics(options.bag, options.ir_topic, options.vis_topic)
    os.makedirs(options.output, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bag_", dir=options.output) as folder:
        pairs = bag_pairs(
            options.bag,
            topics,
            ir_time_offset_s=options.ir_time_offset_s,
            on_incomplete=on_incomplete(options),
        )
        count = write_pairs(pairs, folder)
        print(f"{count} pairs of {topics[0]} and {topics[1]} in {options.bag}", flush=True)
        options.pairs = folder
        try:
            yield
        finally:
            options.pairs = None


if __name__ == "__main__":
    sys.exit(main())
