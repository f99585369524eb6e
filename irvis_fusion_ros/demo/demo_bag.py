"""The demo's `DEMO_BAG`: a bag's pairs, written to a folder as `DEMO_PAIRS` takes them."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.bag_pairs import MOST_PAIRS, bag_pairs, write_pairs
from irvis_fusion_ros.bags.bag_topics import choose_topics


def add_bag_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a bag; the environment gives their defaults."""
    text = f"ROS 2 bag, sqlite3 or MCAP, its first {MOST_PAIRS} pairs (default: $DEMO_BAG)"
    parser.add_argument("--bag", default=os.environ.get("DEMO_BAG"), metavar="BAG", help=text)
    for name, kind in (("ir", "thermal"), ("vis", "visible")):
        variable = f"DEMO_{name.upper()}_TOPIC"
        text = f"{kind} images of the bag (default: ${variable}, else guessed)"
        given = os.environ.get(variable)
        parser.add_argument(f"--{name}-topic", default=given, metavar="TOPIC", help=text)
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
        pairs = bag_pairs(options.bag, topics, ir_time_offset_s=options.ir_time_offset_s)
        count = write_pairs(pairs, folder)
        print(f"{count} pairs of {topics[0]} and {topics[1]} in {options.bag}", flush=True)
        options.pairs = folder
        try:
            yield
        finally:
            options.pairs = None
