"""Fuse the thermal and the visible images of a ROS 2 bag into another bag.

examples::

  irvis_fusion fuse_bag recording --output recording_fused
  irvis_fusion fuse_bag recording --output fused --storage mcap --copy cameras
  irvis_fusion fuse_bag recording --output fused --config fusion.yaml -p pairing:=pair
  irvis_fusion fuse_bag day1/* day2/* --output fused --jobs 4

Works as the node does, with the node's parameters and without ROS: pairing, health, thermal
rescaling, registration, engine. The same bag gives the same bytes. The new bag has
/fused/image_raw and /fused/camera_info at the times of recording of the visible images, and the
topics of the old bag. Of several bags each goes to a bag below the output folder, with one report
of all; a bag that an earlier run has finished is not done again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import irvis_fusion_core
from irvis_fusion_core.command_line import command, make_parser, say, show_progress
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags import bag_fleet, bag_topics
from irvis_fusion_ros.bags.bag import BagError, StoredTopic, all_topics
from irvis_fusion_ros.bags.bag_error import IncompleteBagError
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.bag_writer import STORAGES, BagWriter
from irvis_fusion_ros.bags.replay.fused_bag import FusedBag, FusedTopics
from irvis_fusion_ros.bags.replay.interrupted_run import InterruptedRun
from irvis_fusion_ros.bags.replay.offline_advice import why_nothing_fused
from irvis_fusion_ros.bags.replay.offline_fusion import OfflineFusion
from irvis_fusion_ros.bags.storage.bag_files import find_files, storage_of
from irvis_fusion_ros.bags.storage.stored_topic import CDR
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.parameters.settings_file import add_settings_options, settings_of
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED, PASSED

MODULE = "irvis_fusion_ros.commands.fuse_bag"
ALL, CAMERAS, NONE = "all", "cameras", "none"


@command
def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    settings = settings_of(options)
    if bag_fleet.is_fleet(options):
        command = "irvis_fusion fuse_bag " + " ".join(map(shlex.quote, arguments))
        return bag_fleet.run_bags(MODULE, options, command, [settings])
    (options.bag,) = options.bag
    run(options)
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fuse one bag; return the facts of its row in a report of several.

    Raises:
        FusionError: The bag, the parameters or the engine; or the bag is incomplete.
    """
    settings = settings_of(options)
    bag, output = (os.path.realpath(path) for path in (options.bag, options.output))
    if output in (bag, os.path.dirname(bag)):
        found = "that bag or its folder; choose another name"
        raise ConfigurationError(f"expected --output other than {options.bag}, found {found}")
    cameras = bag_topics.find_topics(options.bag, options.ir_topic, options.vis_topic)
    there = all_topics(options.bag)
    fused = _fused_topics(options, settings)
    copied = _copied(options, there, cameras, fused)
    storage = options.storage or storage_of(options.bag)
    total = sum(topic.messages for topic in there if topic.name == cameras.vis)
    # Checked before the engine is opened, which may build for minutes.
    writer = BagWriter(
        options.output, storage, options.overwrite, options.compress, options.resume
    )
    incomplete: list[IncompleteBagError] = []
    interrupted = InterruptedRun()
    with OfflineFusion(settings, progress=say, fuser=interrupted.fuser) as fusion:
        writer.identify(_run(options.bag, fusion, cameras, fused, copied))
        with writer:
            interrupted.begin(writer, fused.image)
            new = FusedBag(fusion, writer, cameras, fused, copied, incomplete.append, interrupted)
            for _ in show_progress(new.run(options.bag), total, options.quiet):
                pass
            if incomplete and not options.allow_partial:
                raise incomplete[0]
            counts = fusion.counts()
            if not counts.get(FUSED) and settings.node.enabled:
                events = "".join(f"; {kind}: {of.text}" for kind, of in fusion.events.items())
                raise BagError(
                    f"expected pairs of {cameras.ir} and {cameras.vis} in {options.bag}, found "
                    f"none to fuse: {why_nothing_fused(counts, fusion.skews, settings)}{events}; "
                    f"the visible images as they passed are kept in {writer.place.unfinished}"
                )
        for error in incomplete:
            say(f"warning: {error}")
        if not options.quiet:
            _tell(cameras, fusion, writer)
            if options.resume:
                say(f"{interrupted.reused} frames were fused by the interrupted run")
        outcomes = {name: counts.get(name, 0) for name in (FUSED, PASSED, DROPPED)}
        return {
            "counts": {"frames": sum(outcomes.values()), **outcomes, "messages": writer.messages},
            "values": {"engine": "{engine} with {model}".format(**fusion.engine.describe())},
        }


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "fuse_bag")
    bag_topics.add_bag_argument(parser, several=True)
    text = "folder of the new bag; of several bags the folder of their new bags and of the report"
    parser.add_argument("--output", required=True, metavar="BAG2", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace the bag BAG2")
    text = "go on with an interrupted run: frames that it has fused are not fused again"
    parser.add_argument("--resume", action="store_true", help=text)
    bag_topics.add_topic_options(parser)
    add_settings_options(parser)
    add = parser.add_argument_group("the new bag").add_argument
    text = "topics of BAG to copy: all, cameras (both images and their camera_info), none, or"
    text += " names with commas between (default: all)"
    add("--copy", default=ALL, metavar="WHAT", help=text)
    text = "namespace of the new topics: NAME/image_raw, NAME/camera_info (default: /fused)"
    add("--fused", default="/fused", metavar="NAME", help=text)
    text = "Image, or JPEG on NAME/image_raw/compressed, or both (default: raw, and both with"
    text += " publish_compressed:=true)"
    add("--transport", choices=("raw", "compressed", "both"), help=text)
    text = "also NAME/ir: the 8-bit thermal image on the visible grid, as it was fused"
    add("--with-ir", action="store_true", help=text)
    text = "also NAME/diagnostics: the outcomes of the frames, once a second"
    add("--with-diagnostics", action="store_true", help=text)
    add("--storage", choices=STORAGES, help="of BAG2 (default: that of BAG)")
    add("--compress", action="store_true", help="compress with zstd, lossless")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    bag_fleet.add_fleet_options(parser)
    return parser


def _run(
    bag: str,
    fusion: OfflineFusion,
    cameras: FusionTopics,
    fused: FusedTopics,
    copied: Sequence[StoredTopic],
) -> dict[str, object]:
    """Return what determines the messages of the new bag, for --resume."""
    parameters = fusion.settings.to_mapping()
    del parameters["threads"]  # with several bags it follows from --jobs
    return {
        "bag": [[path.name, path.stat().st_size] for path in find_files(bag).files],
        "topic": [cameras, fused, sorted(topic.name for topic in copied)],
        "parameter": parameters,
        "engine": fusion.engine.describe(),
        "version": irvis_fusion_core.__version__,
    }


def _fused_topics(options: argparse.Namespace, settings: Settings) -> FusedTopics:
    base = bag_topics.topic_name(options.fused)
    transport = options.transport or ("both" if settings.topics.publish_compressed else "raw")
    image = base + "/image_raw"
    return FusedTopics(
        image if transport != "compressed" else None,
        image + "/compressed" if transport != "raw" else None,
        base + "/camera_info",
        base + "/ir" if options.with_ir else None,
        base + "/diagnostics" if options.with_diagnostics else None,
    )


def _copied(
    options: argparse.Namespace,
    there: list[StoredTopic],
    cameras: FusionTopics,
    fused: FusedTopics,
) -> list[StoredTopic]:
    """Return the topics of the old bag to copy; none may have the name of a new one."""
    foreign = {topic.name: topic.encoding for topic in there if topic.encoding != CDR}
    known = [topic.name for topic in there if topic.encoding == CDR]
    listed = [name.strip() for name in options.copy.split(",") if name.strip()]
    choices: dict[str, Sequence[str | None]] = {ALL: known, CAMERAS: cameras, NONE: ()}
    names = choices.get(options.copy, listed)
    if foreign and options.copy == ALL:
        say("not copied, because they are not in CDR: " + ", ".join(sorted(foreign)))
    missing = [name for name in listed if name not in known]
    if names is listed and missing:
        raise BagError(
            f"expected the topics of --copy in {options.bag}, found no {missing[0]!r} among "
            + ", ".join(f"{topic.name} ({topic.type})" for topic in there)
        )
    taken = [name for name, _ in fused.all() if name in names]
    if taken:
        raise ConfigurationError(
            f"expected new names for the fused topics, found {taken[0]} in {options.bag} already; "
            "rename them (--fused /refused), or do not copy the old ones (--copy)"
        )
    return [topic for topic in there if topic.name in names and topic.encoding == CDR]


def _tell(cameras: FusionTopics, fusion: OfflineFusion, writer: BagWriter) -> None:
    """Print the outcomes, the engine, the events and the new bag's path on stderr."""
    counts = ", ".join(f"{name} {count}" for name, count in sorted(fusion.counts().items()))
    say(f"{cameras.ir} into {cameras.vis}: {counts}")
    say("by {engine} with {model}".format(**fusion.engine.describe()))
    for kind, event in sorted(fusion.events.items()):
        say(f"{kind} ({event.times}): {event.text}")
    say(f"{writer.messages} messages in {writer.place.path}")


if __name__ == "__main__":
    sys.exit(main())
