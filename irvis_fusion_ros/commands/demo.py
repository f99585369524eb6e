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
import os
import sys

from irvis_fusion_core.command_line import command, print_table
from irvis_fusion_core.commands.demo import make_demo_parser, show_core
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.demo.demo_bag import add_bag_options, pairs_of_bag
from irvis_fusion_ros.demo.demo_report import make_table
from irvis_fusion_ros.demo.node_run import run_node
from irvis_fusion_ros.running_node.environment import why_no_ros


@command
def main(arguments: list[str]) -> int:
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
        _show_node(options)
    return 0


def _show_node(options: argparse.Namespace) -> None:
    print(
        f"\nThe node, {options.seconds:.0f} s at {options.rate_hz:.0f} Hz: cameras, fusion node "
        "and two detectors, each a process of its own",
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


if __name__ == "__main__":
    sys.exit(main())
