"""Estimate the time offset between the infrared and the visible stamps of a bag with motion.

examples::

  irvis_fusion estimate_time_offset recording
  irvis_fusion estimate_time_offset recording --output registration.yaml

Record 10 s or more while the cameras are turned by hand in jerks, or somebody waves. Prints
`ir_time_offset_s`, which the node adds to infrared stamps, and writes it to OUTPUT. If no offset
is clearly the best, nothing is written and the exit status is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from irvis_fusion_core.calibration.parameter_file import update_parameters
from irvis_fusion_core.command_line import command, make_parser
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_core.streams.time_offset import MotionEnergy, TimeOffset, estimate_time_offset
from irvis_fusion_ros.bags.bag import BagError, read_images
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.bags.bag_topics import (
    add_bag_argument,
    add_topic_options,
    choose_topics,
    on_incomplete,
)
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError


@command
def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = make_parser(__doc__, "estimate_time_offset")
    add_bag_argument(parser)
    add_topic_options(parser)
    add = parser.add_argument
    add("--output", metavar="YAML", help="created, or changed in place")
    text = "largest offset tried (default: +-2 s)"
    add("--largest-s", type=float, default=2.0, help=text)
    add("--seconds", type=float, default=120.0, help="of the bag (default: 120)")
    options = parser.parse_args(arguments)
    if not 0.0 < options.largest_s <= 10.0 or options.seconds <= 0.0:
        raise ConfigurationError("expected --largest-s within 0 and 10, and --seconds above 0")
    topics = choose_topics(options.bag, options.ir_topic, options.vis_topic)
    print(f"IR is {topics[0]}, visible is {topics[1]}", file=sys.stderr)
    partial = on_incomplete(options)
    found = offset_of_bag(options.bag, topics, options.largest_s, options.seconds, partial)
    print(
        f"ir_time_offset_s  {found.ir_time_offset_s:+.4f}\n"
        f"correlation       {found.correlation:.2f}, {found.peak_ratio:.1f} times the next best\n"
        f"over              {found.overlap_s:.1f} s"
    )
    if options.output:
        update_parameters(
            options.output,
            {"ir_time_offset_s": round(found.ir_time_offset_s, 4)},
            f"Correlation {found.correlation:.2f}, {found.peak_ratio:.1f} times the next best.",
        )
        print(f"written           {options.output}")
    return 0


def offset_of_bag(
    bag: str,
    topics: Sequence[str],
    largest_s: float,
    seconds: float,
    on_incomplete: OnIncomplete | None = None,
) -> TimeOffset:
    """Return the offset between (IR topic, visible topic) in a bag's first `seconds`.

    `on_incomplete` is that of `read_messages`.

    Raises:
        BagError: The bag cannot be read, or holds no image that can be decoded.
        CalibrationError: As `irvis_fusion_core.streams.time_offset.estimate_time_offset`.
    """
    motions = {topic: MotionEnergy() for topic in topics}
    unusable: dict[str, ImageMessageError] = {}
    begin_ns = None
    for image in read_images(bag, topics, on_incomplete):
        # Relative to the first stamp: a float resolves seconds since 1970 to 0.2 us only.
        begin_ns = image.stamp_ns if begin_ns is None else begin_ns
        stamp_s = (image.stamp_ns - begin_ns) / NS_PER_S
        if stamp_s > seconds + largest_s:
            break
        try:
            if image.topic == topics[0]:
                pixels = image_messages.thermal_frame(image.message, check_finite=False)
            else:
                pixels, _ = image_messages.visible_frame(image.message)
        except ImageMessageError as error:
            unusable[image.topic] = error
            continue
        motions[image.topic].add(stamp_s, pixels)
    for topic, reason in unusable.items():
        if not motions[topic].energies.size:
            raise BagError(f"no image of {topic} in {bag} can be decoded: {reason}")
    return estimate_time_offset(motions[topics[0]], motions[topics[1]], largest_s)


if __name__ == "__main__":
    sys.exit(main())
