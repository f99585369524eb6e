"""Make a ROS 2 bag from pairs of images, as if two cameras had recorded it.

examples::

  irvis_fusion make_bag --pairs DIR --output bag
  irvis_fusion make_bag --pairs DIR --output bag --pairs-hz 1 --ir-rate-hz 9
  irvis_fusion make_bag --pairs DIR --output bag --ir-rate-hz 9 --ir-offset-s 0.3 --jitter-s 0.005
  irvis_fusion make_bag --output street --frames 600 --ir-encoding mono16 --ir-size 160x120

DIR holds IR/ and VIS/ with images of the same names, in order; without --pairs a night street
is drawn. 16-bit thermal images (PNG, TIFF) are raw counts and keep their values; 8-bit ones are
converted by --ir-counts if the encoding needs counts. The same arguments make the same messages.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from irvis_fusion_core.command_line import command, make_parser, parse_size, show_progress
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags import made_images
from irvis_fusion_ros.bags.bag_topics import topic_name
from irvis_fusion_ros.bags.bag_writer import STORAGES, BagWriter
from irvis_fusion_ros.bags.made_bag import CameraTiming, MadeCamera, PairSource, write_bag
from irvis_fusion_ros.bags.made_images import ROOM_COUNTS, ImageForm

START_S = 1_700_000_000
STREET_FRAMES = 300


@command
def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    pairs_hz = options.pairs_hz or options.vis_rate_hz
    source = PairSource(options.pairs, pairs_hz, stills=pairs_hz < options.vis_rate_hz)
    once = source.count * options.vis_rate_hz / pairs_hz if source.count else STREET_FRAMES
    frames = options.frames or round(once * options.loops)
    cameras = _cameras(options)
    with BagWriter(options.output, options.storage, options.overwrite, options.compress) as writer:
        messages = write_bag(
            writer,
            source,
            cameras,
            duration_s=frames / options.vis_rate_hz,
            start_ns=round(options.start_s * 1e9),
            seed=options.seed,
            loop_stamps=options.loop_stamps,
        )
        visible = sum(1 for name in show_progress(messages, 0, options.quiet) if name == "vis")
    if not options.quiet:
        print(
            f"{visible} visible and {writer.messages} messages in all, of {source.title}, in "
            f"{writer.place.path}",
            file=sys.stderr,
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "make_bag")
    parser.add_argument("--pairs", metavar="DIR", help="folder with IR/ and VIS/")
    parser.add_argument("--output", required=True, metavar="BAG", help="folder of the bag")
    parser.add_argument("--overwrite", action="store_true", help="replace the bag BAG")
    parser.add_argument("--storage", choices=STORAGES, default="sqlite3", help="default: sqlite3")
    parser.add_argument("--compress", action="store_true", help="compress with zstd, lossless")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add = parser.add_argument_group("length").add_argument
    add("--loops", type=_positive, default=1, help="number of passes through DIR")
    add("--frames", type=_positive, metavar="N", help="visible frames due, instead of --loops")
    text = "pairs of DIR a second: 1 for unrelated scenes (default: the rate of the visible"
    add("--pairs-hz", type=float, metavar="HZ", help=text + " camera, as for a video)")
    text = f"Unix time of the beginning (default: {START_S})"
    add("--start-s", type=float, default=float(START_S), metavar="S", help=text)
    text = "stamps go back to the beginning every S seconds, as when a bag is played in a loop"
    add("--loop-stamps", type=float, default=0.0, metavar="S", help=text)
    add("--seed", type=int, default=0, help="of jitter and drops (default: 0)")
    add("--jitter-s", type=float, default=0.0, metavar="S", help="of both cameras, uniform")
    _add_camera(parser, "vis", "visible", made_images.VIS_ENCODINGS, "bgr8")
    _add_camera(parser, "ir", "thermal", made_images.IR_ENCODINGS, "mono8")
    return parser


def _add_camera(
    parser: argparse.ArgumentParser, name: str, word: str, encodings: tuple[str, ...], first: str
) -> None:
    group = parser.add_argument_group(f"the {word} camera")

    def add(option: str, field: str = "", **how: Any) -> None:
        dest = f"{name}_{field or option.replace('-', '_')}"
        group.add_argument(f"--{name}-{option}", dest=dest, **how)

    if name == "vis":
        add("rate-hz", type=float, default=30.0, metavar="HZ", help="default: 30")
    else:
        add("rate-hz", type=float, metavar="HZ", help="default: that of the visible camera")
    add("topic", default=f"/{name}/image_raw", help=f"default: /{name}/image_raw")
    add("frame-id", default=f"{name}_optical_frame", help=f"default: {name}_optical_frame")
    add("encoding", choices=encodings, default=first, help=f"default: {first}")
    text = "send CompressedImage on TOPIC/compressed (default: Image)"
    add("codec", choices=made_images.CODECS, help=text)
    add("size", type=parse_size, metavar="WxH", help="default: that of the images")
    text = "added to stamps: clock error"
    add("offset-s", "stamp_offset_s", type=float, default=0.0, metavar="S", help=text)
    add("phase-s", type=float, default=0.0, metavar="S", help="time of the first image")
    add("delay-s", type=float, default=0.0, metavar="S", help="from stamp to recording")
    text = "share lost at random, 0 … 1"
    add("drop", "dropped_share", type=float, default=0.0, metavar="SHARE", help=text)
    spans: dict[str, Any] = {"type": _span, "action": "append", "default": []}
    add("gap", "gaps", metavar="FROM:TO", help="no images, in s", **spans)
    add("field-of-view-deg", type=float, default=0.0, metavar="DEG", help="for a calibration")
    add("no-camera-info", action="store_true", help="without camera_info")
    if name == "ir":
        add("frozen", metavar="FROM:TO", help="in s", **spans)
        low, high = ROOM_COUNTS
        text = "raw values of black and white of 8-bit images (default: "
        text += f"{low}:{high}, 20 … 40 °C in centikelvin)"
        add("counts", type=_counts, default=ROOM_COUNTS, metavar="LOW:HIGH", help=text)


def _cameras(options: argparse.Namespace) -> list[MadeCamera]:
    given = vars(options)
    cameras = []
    for name in ("ir", "vis"):
        of = {key[len(name) + 1 :]: given[key] for key in given if key.startswith(name + "_")}
        timing = {field: of[field] for field in CameraTiming._fields if field in of}
        timing["rate_hz"] = of["rate_hz"] or options.vis_rate_hz
        form = {field: of[field] for field in ImageForm._fields if field in of}
        camera = MadeCamera(
            name,
            topic_name(of["topic"]),
            of["frame_id"],
            CameraTiming(jitter_s=options.jitter_s, **timing),
            ImageForm(**form),
            not of["no_camera_info"],
            of["field_of_view_deg"],
        )
        cameras.append(camera)
    if cameras[0].topic == cameras[1].topic:
        raise ConfigurationError(f"expected two topics, found {cameras[0].topic} for both")
    return cameras


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _span(text: str) -> tuple[float, float]:
    try:
        start, end = map(float, text.split(":"))
    except ValueError:
        start = end = 0.0
    if not 0 <= start < end:
        raise argparse.ArgumentTypeError(f"expected FROM:TO in seconds, found {text!r}")
    return start, end


def _counts(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    if not (low.isdigit() and high.isdigit()):
        raise argparse.ArgumentTypeError(f"expected LOW:HIGH in counts, found {text!r}")
    return int(low), int(high)


if __name__ == "__main__":
    sys.exit(main())
