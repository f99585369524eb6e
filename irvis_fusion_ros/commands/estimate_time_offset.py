"""Estimate the time offset between the infrared and the visible stamps of a bag with motion.

examples::

  irvis_fusion estimate_time_offset recording
  irvis_fusion estimate_time_offset recording --output registration.yaml

Record 10 s or more while the cameras are turned by hand in jerks, or somebody waves. Prints
`ir_time_offset_s`, which the node adds to infrared stamps, and writes it to OUTPUT. If no offset
is clearly the best, nothing is written and the exit status is 1.

Clocks that differ by more than --largest-s, such as one that counts from the camera's start, are
first brought together by the times at which the messages were recorded. Where nothing moves, that
alone is the result: exact to the difference of the cameras' latencies, about 0.1 s.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from irvis_fusion_core.calibration.parameter_file import update_parameters
from irvis_fusion_core.command_line import command, make_parser
from irvis_fusion_core.errors import CalibrationError, ConfigurationError
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_core.streams.time_offset import (
    ClockOffset,
    MotionEnergy,
    TimeOffset,
    estimate_time_offset,
)
from irvis_fusion_ros.bags import bag_topics
from irvis_fusion_ros.bags.bag import BagError, read_images
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "estimate_time_offset")
    bag_topics.add_bag_argument(parser)
    bag_topics.add_topic_options(parser)
    add = parser.add_argument
    add("--output", metavar="YAML", help="created, or changed in place")
    text = "largest offset tried (default: +-2 s)"
    add("--largest-s", type=float, default=2.0, help=text)
    add("--seconds", type=float, default=120.0, help="of the bag (default: 120)")
    options = parser.parse_args(arguments)
    if not 0.0 < options.largest_s <= 10.0 or options.seconds <= 0.0:
        raise ConfigurationError("expected --largest-s within 0 and 10, and --seconds above 0")
    topics = bag_topics.choose_topics(options.bag, options.ir_topic, options.vis_topic)
    print(f"IR is {topics[0]}, visible is {topics[1]}", file=sys.stderr)
    partial = bag_topics.on_incomplete(options)
    found = offset_of_bag(options.bag, topics, options.largest_s, options.seconds, partial)
    for name, text in found.lines():
        print(f"{name:17} {text}")
    if options.output:
        value = round(found.ir_time_offset_s, 4)
        note = "; ".join(text for _, text in found.lines()[1:]) + "."
        update_parameters(options.output, {"ir_time_offset_s": value}, note)
        print(f"written           {options.output}")
    return 0


class BagOffset(NamedTuple):
    """The offset of a bag's infrared stamps, from its clocks and from motion."""

    clock_s: float  # by which the clocks differ; 0 within the range that motion tells
    motion: TimeOffset | None
    no_motion: str  # why there is none

    @property
    def ir_time_offset_s(self) -> float:
        """What the node adds to infrared stamps, in seconds."""
        return self.clock_s + (self.motion.ir_time_offset_s if self.motion else 0.0)

    def lines(self) -> list[tuple[str, str]]:
        """Return names and texts, the offset first."""
        lines = [("ir_time_offset_s", f"{self.ir_time_offset_s:+.4f}")]
        if self.clock_s:
            text = f"differ by {self.clock_s:.3f} s, by the times of recording"
            lines.append(("clocks", f"{text}; this holds until either clock starts again"))
        if self.motion is None:
            lines.append(("motion", f"not used, so the latencies stay in: {self.no_motion}"))
            return lines
        found = self.motion
        ratio = f"{found.peak_ratio:.1f} times the next best"
        lines.append(("correlation", f"{found.correlation:.2f}, {ratio}"))
        lines.append(("over", f"{found.overlap_s:.1f} s"))
        return lines


def offset_of_bag(
    bag: str,
    topics: Sequence[str],
    largest_s: float,
    seconds: float,
    on_incomplete: OnIncomplete | None = None,
) -> BagOffset:
    """Return the offset between (IR topic, visible topic) in a bag's first `seconds`.

    `on_incomplete` is that of `read_messages`.

    Raises:
        BagError: The bag cannot be read, or holds no image that can be decoded.
        CalibrationError: As `irvis_fusion_core.streams.time_offset.estimate_time_offset`, where
            the clocks do not differ by more than `largest_s`.
    """
    motions = {topic: MotionEnergy() for topic in topics}
    clocks = {topic: ClockOffset() for topic in topics}
    unusable: dict[str, ImageMessageError] = {}
    begin_ns = None
    for image in read_images(bag, topics, on_incomplete):
        begin_ns = image.recorded_ns if begin_ns is None else begin_ns
        if image.recorded_ns - begin_ns > (seconds + largest_s) * NS_PER_S:
            break
        clocks[image.topic].add(image.stamp_ns, image.recorded_ns)
        try:
            if image.topic == topics[0]:
                pixels = image_messages.thermal_frame(image.message, check_finite=False)
            else:
                pixels, _ = image_messages.visible_frame(image.message)
        except ImageMessageError as error:
            unusable[image.topic] = error
            continue
        # Relative to the first stamp: a float resolves seconds since 1970 to 0.2 us only.
        stamp_s = (image.stamp_ns - clocks[image.topic].first_ns) / NS_PER_S
        motions[image.topic].add(stamp_s, pixels)
    for topic, reason in unusable.items():
        if not motions[topic].energies.size:
            raise BagError(f"no image of {topic} in {bag} can be decoded: {reason}")
    ir, vis = (clocks[topic] for topic in topics)
    ir.check("infrared")
    vis.check("visible")
    clock_ns = ir.before(vis)
    clock_ns = clock_ns if abs(clock_ns) > largest_s * NS_PER_S else 0
    shift_s = (ir.first_ns + clock_ns - vis.first_ns) / NS_PER_S
    ir_motion, vis_motion = (motions[topic] for topic in topics)
    try:
        found = estimate_time_offset(ir_motion, vis_motion, largest_s, shift_s)
    except CalibrationError as error:
        if not clock_ns:
            raise
        return BagOffset(clock_ns / NS_PER_S, None, str(error))
    return BagOffset(clock_ns / NS_PER_S, found, "")


if __name__ == "__main__":
    sys.exit(main())
