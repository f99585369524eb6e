"""Replay a ROS 2 bag, measure the fusion, and write a report.

examples::

  irvis_fusion evaluate_bag recording --output report
  irvis_fusion evaluate_bag recording --output report --model nano --model small
  irvis_fusion evaluate_bag recording --output report --config day.yaml --config night.yaml
  irvis_fusion evaluate_bag recording --output report --detector yolo.onnx --annotations coco.json
  irvis_fusion evaluate_bag recording --output report --live

report.html is one file that loads nothing: each configuration against the trivial fusions (visible
alone, IR alone, mean, maximum), metrics, latency and skew over time, drops by cause, the worst and
the best frames, and what a detector finds. The folder also contains summary.json, frames.csv (the
same in every run), references.csv, timing.csv and fused.gif.
"""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
from typing import Any

from irvis_fusion_core.command_line import command, make_parser, show_progress
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.bag_topics import add_bag_argument, add_topic_options, find_topics
from irvis_fusion_ros.evaluation.configurations import make_configurations
from irvis_fusion_ros.evaluation.evaluation import Evaluation, Plan

MEASURED = 300
"""Frames that get the costly metrics; each row takes about 0.3 s."""
DETECTED = 100


@command
def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    for name in ("measured_frames", "detector_frames", "jobs"):
        if getattr(options, name) < 0:
            raise ConfigurationError(
                f"expected --{name.replace('_', '-')} of 0 or more, found {getattr(options, name)}"
            )
    plan = Plan(
        bag=options.bag,
        topics=find_topics(options.bag, options.ir_topic, options.vis_topic),
        output=options.output,
        configurations=make_configurations(options.config, options.model, options.param),
        metrics=_listed(options.metrics),
        measured_frames=options.measured_frames,
        rank_by=options.rank_by,
        jobs=options.jobs or os.cpu_count() or 1,
        detector=options.detector,
        min_score=options.min_score,
        detector_frames=options.detector_frames,
        annotations=options.annotations,
        class_names=_listed(options.class_names) or [],
        frame_names=options.frame_names,
        gif=not options.no_gif,
        live=options.live,
        live_rate=options.live_rate,
        quiet=options.quiet,
        command="irvis_fusion evaluate_bag " + " ".join(shlex.quote(a) for a in arguments),
    )
    page = Evaluation(plan).run(functools.partial(show_progress, quiet=options.quiet))
    if not options.quiet:
        print(page)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "evaluate_bag")
    add_bag_argument(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the report")
    add_topic_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    several: dict[str, Any] = {"action": "append", "default": []}
    count: dict[str, Any] = {"type": int, "metavar": "N"}
    add = parser.add_argument_group("what is compared").add_argument
    add(
        "--config",
        metavar="YAML",
        help="a parameter file of the node; several are compared",
        **several,
    )
    add(
        "--model",
        help="auto, nano, small, base, or an .onnx file; several are compared",
        **several,
    )
    text = "one parameter of the node, over the files'; may be repeated"
    add("-p", "--param", metavar="NAME:=VALUE", help=text, **several)
    add = parser.add_argument_group("what is measured").add_argument
    add("--metrics", metavar="A,B,...", help="only these, separated by commas (default: all)")
    text = (
        "frames that get metrics, evenly spaced; 0 for all. Flicker, skew, latency and outcomes "
    )
    text += f"are of every frame (default: {MEASURED})"
    add("--measured-frames", default=MEASURED, help=text, **count)
    text = "the metric of best and worst frames"
    add("--rank-by", default="Qabf", metavar="METRIC", help=text)
    add("--jobs", default=0, help="threads for the metrics (default: all)", **count)
    add("--no-gif", action="store_true", help="leave out the animation")
    add = parser.add_argument_group("downstream check").add_argument
    text = "a YOLO-style .onnx, hog (OpenCV's people detector), or none (default: hog)"
    add("--detector", default="hog", metavar="MODEL", help=text)
    text = "of a detection of an .onnx (default: 0.25)"
    add("--min-score", type=float, default=0.25, help=text)
    text = "frames to look at, 0 for all; with annotations every annotated frame "
    add("--detector-frames", default=DETECTED, help=f"{text}(default: {DETECTED})", **count)
    text = "COCO .json or folder of YOLO .txt, named by visible stamp or frame number"
    add("--annotations", metavar="PATH", help=text)
    add("--class-names", metavar="A,B,...", help="names of the class numbers in YOLO .txt files")
    text = "names of the visible frames in order: a text file, or a folder of images"
    add("--frame-names", metavar="FILE", help=text)
    add = parser.add_argument_group("the running node").add_argument
    text = "also play the bag through the node over DDS, and compare with the offline replay"
    add("--live", action="store_true", help=text)
    add("--live-rate", type=float, default=1.0, metavar="X", help="playing speed (default: 1)")
    return parser


def _listed(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
