"""Find where the infrared image lies in the visible one, and write the node's parameters.

examples::

  irvis_fusion calibrate recording --output registration.yaml
  irvis_fusion calibrate --ir IR/ --vis VIS/ --output registration.yaml
  irvis_fusion calibrate --live /thermal/image_raw /camera/image_raw --output registration.yaml
  irvis_fusion calibrate recording --board chessboard:9x6 --square-m 0.05 --output calibration.yaml

Without a board the result is a homography from natural scenes, which fits at their distance. With
a board that both cameras see (heated, or of materials of different emissivity) it is both cameras'
calibrations and their relative pose, which fits at any given depth. An overlay image is written
next to OUTPUT: look at it. If no alignment is clearly better than chance, nothing is written and
the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from irvis_fusion_core import model_zoo
from irvis_fusion_core.calibration.board_calibration import BOARD_KINDS, parse_board
from irvis_fusion_core.calibration.estimate import Estimate, estimate_homography
from irvis_fusion_core.calibration.overlay import before_and_after
from irvis_fusion_core.calibration.parameter_file import update_parameters
from irvis_fusion_core.calibration.second_opinion import second_opinion
from irvis_fusion_core.command_line import command, make_parser, say
from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError, ModelError
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration.learned.field_network import FieldNetwork
from irvis_fusion_ros.bags import bag_topics
from irvis_fusion_ros.calibration import calibration_frames
from irvis_fusion_ros.calibration.calibration_frames import CalibrationPair

_SECOND_OPINION_PAIRS = 8
# Median displacement of the learned registration from which it contradicts the estimate. Its own
# error and the depth of natural scenes stay below.
_DISAGREEMENT_PX = 4.0


@command
def main(arguments: list[str]) -> int:
    options = _checked(_parser().parse_args(arguments))
    pairs = _pairs(options)
    calibration_frames.check_one_rig(pairs)
    if options.board:
        from irvis_fusion_ros.calibration.boards import calibrate_with_board

        calibrate_with_board(pairs, options, say)
        return 0
    estimate = estimate_homography(
        [(pair.ir, pair.vis) for pair in pairs], scales=options.scales, progress=say
    )
    _write(estimate, pairs, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "calibrate")
    add = parser.add_argument
    add("bag", nargs="?", metavar="BAG", help="a bag's folder, .db3 or .mcap")
    add("--ir", metavar="DIR", help="folder of thermal images")
    add("--vis", metavar="DIR", help="folder of visible ones, of the same names")
    text = "topics of a running system"
    add("--live", nargs=2, metavar=("IR_TOPIC", "VIS_TOPIC"), help=text)
    add("--output", required=True, metavar="YAML", help="created, or changed in place")
    add("--overlay", metavar="PNG", help="overlay image (default: OUTPUT with .png)")
    add("--frames", type=int, default=20, help="pairs used (default: 20)")
    text = "size of the IR image in the visible one, 1 being the same area (default: 0.4 2.2)"
    metavars = ("LEAST", "MOST")
    add("--scales", type=float, nargs=2, default=(0.4, 2.2), metavar=metavars, help=text)
    group = parser.add_argument_group("bag and topics")
    bag_topics.add_topic_options(group)
    bag_topics.add_partial_option(group)
    add = group.add_argument
    add("--slop-s", type=float, default=0.05, help="within a pair (default: 0.05)")
    add("--ir-time-offset-s", type=float, default=0.0, help="added to IR stamps (default: 0)")
    add("--seconds", type=float, default=20.0, help="--live: duration")
    add = parser.add_argument_group("board").add_argument
    text = f"KIND is one of {', '.join(BOARD_KINDS)}; inner corners, or circles"
    add("--board", type=parse_board, metavar="KIND:COLUMNSxROWS", help=text)
    add("--square-m", type=float, help="distance of neighbouring corners or circles")
    text = "depth at which images fit (default: 10)"
    add("--depth-m", type=float, default=10.0, help=text)
    return parser


def _checked(options: argparse.Namespace) -> argparse.Namespace:
    sources = [bool(options.bag), bool(options.ir or options.vis), bool(options.live)]
    if sum(sources) != 1 or bool(options.ir) != bool(options.vis):
        raise ConfigurationError(
            "expected one source: a BAG, or --ir and --vis, or --live IR_TOPIC VIS_TOPIC"
        )
    if options.frames < 1 or options.slop_s <= 0.0 or options.seconds <= 0.0:
        raise ConfigurationError("expected --frames, --slop-s and --seconds above 0")
    least, most = options.scales
    if not 0.05 <= least < most <= 20.0:
        raise ConfigurationError(
            f"expected --scales between 0.05 and 20, the lesser first, found {least:g} {most:g}"
        )
    if options.board and not (options.square_m and options.square_m > 0.0):
        raise ConfigurationError("expected --square-m above 0 with --board: it sets the metre")
    if options.depth_m <= 0.0:
        raise ConfigurationError(f"expected --depth-m above 0, found {options.depth_m:g}")
    if options.overlay is None:
        options.overlay = os.path.splitext(options.output)[0] + ".png"
    return options


def _pairs(options: argparse.Namespace) -> list[CalibrationPair]:
    if options.ir:
        return calibration_frames.folder_pairs(options.ir, options.vis, options.frames)
    times = (options.slop_s, options.ir_time_offset_s)
    if options.live:
        from irvis_fusion_ros.calibration.live_frames import live_frames

        say(f"listening for {options.seconds:g} s")
        topics = tuple(options.live)
        return live_frames(topics, options.frames, options.seconds, *times, progress=say)
    topics = bag_topics.choose_topics(options.bag, options.ir_topic, options.vis_topic)
    say(f"IR is {topics[0]}, visible is {topics[1]}")
    return calibration_frames.bag_frames(
        options.bag, topics, options.frames, *times, bag_topics.on_incomplete(options)
    )


def _write(
    estimate: Estimate, pairs: Sequence[CalibrationPair], options: argparse.Namespace
) -> None:
    middle = pairs[len(pairs) // 2]
    # The image first: parameters without the image cannot be judged.
    write_image(options.overlay, before_and_after(middle.ir, middle.vis, estimate.homography))
    update_parameters(
        options.output,
        {
            "registration.mode": "homography",
            "registration.homography": [float(v) for v in estimate.homography.ravel()],
            "registration.calibrated_ir_size": list(estimate.ir_size),
            "registration.calibrated_vis_size": list(estimate.vis_size),
        },
        f"From {estimate.frames} pairs: held-out residual {estimate.median_px:.1f} px (median), "
        f"{estimate.p90_px:.1f} px (90 %).",
    )
    (ir_h, ir_w), (vis_h, vis_w) = estimate.ir_size, estimate.vis_size
    print(f"pairs            {estimate.frames} used, {estimate.left_out} without contrast")
    print(f"sizes            IR {ir_w}x{ir_h} onto visible {vis_w}x{vis_h}")
    around = f"around {estimate.coverage:.0%} of the common image"
    print(f"blocks           {estimate.inliers} of {estimate.blocks} agree, {around}")
    print(
        f"residual         {estimate.median_px:.1f} px median, {estimate.p90_px:.1f} px at 90 % "
        "(visible pixels, blocks that the fit has not seen)"
    )
    for title, row in zip(("homography", "", ""), estimate.homography):
        print(f"{title:17}" + "  ".join("%12.6g" % v for v in row))
    print(f"second opinion   {_second_opinion(estimate, pairs)}")
    print(f"written          {options.output}")
    print(f"look at          {options.overlay}")


def _second_opinion(estimate: Estimate, pairs: Sequence[CalibrationPair]) -> str:
    """Return what the learned registration says about the homography, for a person."""
    step = max(1, len(pairs) // _SECOND_OPINION_PAIRS)
    looked_at = [(pair.ir, pair.vis) for pair in pairs[::step]]
    try:
        network = FieldNetwork(model_zoo.registration_path())
        found = second_opinion(looked_at, estimate.homography, network)
    except (EngineUnavailableError, ModelError) as error:
        return f"none: {error}"
    if found.homography is None:
        return "none: the learned registration is not confident anywhere"
    text = (
        f"the learned registration would move {found.median_px:.1f} px (median), "
        f"{found.p95_px:.1f} px (95 %), confident in {found.confident:.0%} of the image"
    )
    if found.median_px > _DISAGREEMENT_PX:
        text += "; it disagrees: look at the overlay before you use this"
    return text


if __name__ == "__main__":
    sys.exit(main())
