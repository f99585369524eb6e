"""Replay a ROS 2 bag, measure the fusion, and write a report.

examples::

  irvis_fusion evaluate_bag recording --output report
  irvis_fusion evaluate_bag recording --output report --model nano --model small
  irvis_fusion evaluate_bag recording --output report --config day.yaml --config night.yaml
  irvis_fusion evaluate_bag recording --output report --detector yolo.onnx --annotations coco.json
  irvis_fusion evaluate_bag recording --output report --live
  irvis_fusion evaluate_bag day1/* day2/* --output reports --jobs 4

report.html is one file that loads nothing: each configuration against the trivial fusions (visible
alone, IR alone, mean, maximum), metrics, latency and skew over time, drops by cause, the worst and
the best frames, and what a detector finds. The folder also contains summary.json, frames.csv (the
same in every run), references.csv, timing.csv and fused.gif. Of several bags each has such a
folder below the output, beside index.html, summary.json and runs.csv of all; a bag that an earlier
run has finished is not done again.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from irvis_fusion_core.command_line import command, make_parser, show_progress
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags import bag_fleet
from irvis_fusion_ros.bags.bag_topics import add_bag_argument, add_topic_options, find_topics
from irvis_fusion_ros.evaluation.configurations import make_configurations
from irvis_fusion_ros.evaluation.evaluation import SUMMARY, Evaluation, Plan
from irvis_fusion_ros.evaluation.report.page import PAGE
from irvis_fusion_ros.evaluation.summary import facts_of

MODULE = "irvis_fusion_ros.commands.evaluate_bag"
MEASURED = 300
"""Frames that get the costly metrics; each row takes about 0.3 s."""
DETECTED = 100


@command
def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    for name in ("measured_frames", "detector_frames", "jobs"):
        if getattr(options, name) < 0:
            raise ConfigurationError(
                f"expected --{name.replace('_', '-')} of 0 or more, found {getattr(options, name)}"
            )
    options.command = "irvis_fusion evaluate_bag " + " ".join(map(shlex.quote, arguments))
    if bag_fleet.is_fleet(options):
        if options.live and (options.jobs > 1 or options.scheduler):
            raise ConfigurationError(
                "expected one bag at a time with --live, which plays it in real time, found "
                "--jobs or --scheduler; leave them out"
            )
        if options.frame_names:
            raise ConfigurationError(
                "expected one bag with --frame-names, the names of its frames, found several; "
                "give annotations that are named by visible stamp"
            )
        configurations = make_configurations(options.config, options.model, options.param)
        settings = [each.settings for each in configurations]
        return bag_fleet.run_bags(MODULE, options, options.command, settings, PAGE)
    (options.bag,) = options.bag
    page = _evaluate(options)
    if not options.quiet:
        print(page)
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate one bag; return the facts of its row in a report of several.

    Raises:
        FusionError: As `Evaluation`.
    """
    _evaluate(options)
    return facts_of(json.loads(Path(options.output, SUMMARY).read_text(encoding="utf-8")))


def _evaluate(options: argparse.Namespace) -> str:
    """Write the report of one bag; return the path of its page."""
    options.jobs = options.jobs or os.cpu_count() or 1
    plan = Plan(
        topics=find_topics(options.bag, options.ir_topic, options.vis_topic),
        configurations=make_configurations(options.config, options.model, options.param),
        **{name: value for name, value in vars(options).items() if name in Plan._fields},
    )
    return Evaluation(plan).run(functools.partial(show_progress, quiet=options.quiet))


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "evaluate_bag")
    add_bag_argument(parser, several=True)
    text = "folder of the report; of several bags the folder of their reports"
    parser.add_argument("--output", required=True, metavar="DIR", help=text)
    add_topic_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    several: dict[str, Any] = {"action": "append", "default": []}
    count: dict[str, Any] = {"type": int, "metavar": "N"}
    add = parser.add_argument_group("what is compared").add_argument
    text = "a parameter file of the node; several are compared"
    add("--config", metavar="YAML", help=text, **several)
    text = "auto, nano, small, base, or an .onnx file; several are compared"
    add("--model", help=text, **several)
    text = "one parameter of the node, over the files'; may be repeated"
    add("-p", "--param", metavar="NAME:=VALUE", help=text, **several)
    add = parser.add_argument_group("what is measured").add_argument
    names: dict[str, Any] = {"type": _listed, "metavar": "A,B,..."}
    add("--metrics", help="only these, separated by commas (default: all)", **names)
    text = "frames that get metrics, evenly spaced; 0 for all. Flicker, skew, latency and"
    text += f" outcomes are of every frame (default: {MEASURED})"
    add("--measured-frames", default=MEASURED, help=text, **count)
    text = "the metric of best and worst frames (default: Qabf, or the first of --metrics)"
    add("--rank-by", metavar="METRIC", help=text)
    add("--no-gif", dest="gif", action="store_false", help="leave out the animation")
    add = parser.add_argument_group("downstream check").add_argument
    text = "an .onnx or OpenVINO .xml (YOLO, YOLOX, NanoDet, RT-DETR), hog (OpenCV's people "
    text += "detector), or none (default: hog)"
    add("--detector", default="hog", metavar="MODEL", help=text)
    text = "of a detection of a file (default: 0.25)"
    add("--min-score", type=float, default=0.25, help=text)
    text = "frames to look at, 0 for all; with annotations every annotated frame "
    add("--detector-frames", default=DETECTED, help=f"{text}(default: {DETECTED})", **count)
    text = "COCO .json or folder of YOLO .txt, named by visible stamp or frame number"
    add("--annotations", metavar="PATH", help=text)
    text = "names of the class numbers in YOLO .txt files, and of a detector without names"
    add("--class-names", default=(), help=text, **names)
    text = "names of the visible frames in order: a text file, or a folder of images"
    add("--frame-names", metavar="FILE", help=text)
    bag_fleet.add_fleet_options(parser, "; of one bag threads for the metrics (default: all)")
    add = parser.add_argument_group("the running node").add_argument
    text = "also play the bag through the node over DDS, and compare with the offline replay"
    add("--live", action="store_true", help=text)
    add("--live-rate", type=float, default=1.0, metavar="X", help="playing speed (default: 1)")
    return parser


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
