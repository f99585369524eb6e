"""Fuse a drawn night street or your own pairs, and leave images to look at.

examples::

  irvis_fusion demo --output out/demo
  DEMO_PAIRS=my_pairs irvis_fusion demo      (a folder with IR/ and VIS/)
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np

from irvis_fusion_core import command_line
from irvis_fusion_core.command_line import command
from irvis_fusion_core.demo.demo_pairs import DemoPair, DemoPairs
from irvis_fusion_core.detectors.people_detector import PeopleDetector, count_hits
from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError
from irvis_fusion_core.film import write_gif, write_mp4
from irvis_fusion_core.image_files import thermal_to_8_bit, write_image
from irvis_fusion_core.image_sheet import caption_row

FILM_IMAGE_WIDTH = 320
FILM_PERIOD_S = 0.25


def make_demo_parser() -> argparse.ArgumentParser:
    """Return the options of the demo, with or without ROS."""
    parser = command_line.make_parser(__doc__, "demo")
    add = parser.add_argument
    add("--output", default="out/demo", help="folder (default: out/demo)")
    folder = "folder with IR/ and VIS/ (default: $DEMO_PAIRS, else a drawn street)"
    add("--pairs", default=os.environ.get("DEMO_PAIRS"), metavar="DIR", help=folder)
    add("--count", type=int, default=16, help="pairs to fuse (default: 16)")
    command_line.add_engine_options(parser)
    return parser


@command
def main(arguments: list[str]) -> int:
    """Run the core alone, without ROS."""
    show_core(make_demo_parser().parse_args(arguments))
    return 0


def show_core(options: argparse.Namespace) -> None:
    """Fuse, write images, and print what a people detector finds in them."""
    pairs = DemoPairs(options.pairs)
    print("Fusing %s" % pairs.title)
    rows = [["image", "fuse ms", "people on visible", "on thermal", "on fused", "are there"]]
    film = []
    detector = None
    try:
        detector = PeopleDetector()
    except EngineUnavailableError as error:
        print(error, file=sys.stderr)
    with command_line.open_fusion(options) as fusion:
        fusion.warm_up(pairs.height, pairs.width)
        for pair in command_line.show_progress(pairs.first(options.count), options.count):
            pair = pair._replace(ir=thermal_to_8_bit(pair.ir))
            started = time.perf_counter()
            fused = fusion.fuse_frame(pair.ir, pair.vis)
            elapsed_ms = 1e3 * (time.perf_counter() - started)
            images = {"visible": pair.vis, "thermal": pair.ir, "fused": fused}
            rows.append([pair.name, "%.1f" % elapsed_ms, *_people(detector, pair, fused)])
            path = os.path.join(options.output, pair.name + ".png")
            write_image(path, caption_row(images)[..., ::-1])
            film.append(caption_row(images, min(FILM_IMAGE_WIDTH, pairs.width)))
        facts = fusion.describe()
    command_line.print_table(rows)
    film_name = write_film(options.output, film)
    print("%s on %s, model %s" % (facts["engine"], facts["device"], facts["variant"]))
    kinds = "(visible | thermal | fused)"
    print(f"{len(film)} images {kinds} and {film_name} are in {options.output}")


def write_film(folder: str, frames: Sequence[np.ndarray]) -> str:
    """Write demo.gif, or demo.mp4 if Pillow is not installed; return its name."""
    try:
        write_gif(os.path.join(folder, "demo.gif"), frames, FILM_PERIOD_S)
        return "demo.gif"
    except ConfigurationError as error:
        print("%s; the film is an MP4 instead" % error, file=sys.stderr)
    write_mp4(os.path.join(folder, "demo.mp4"), frames, FILM_PERIOD_S)
    return "demo.mp4"


def _people(detector: PeopleDetector | None, pair: DemoPair, fused: np.ndarray) -> list[str]:
    """Return the people found on visible, thermal and fused, and the true number, as text."""
    there = "?" if pair.people is None else str(len(pair.people))
    if detector is None:
        return ["-", "-", "-", there]
    counts = []
    for image in (pair.vis, cv2.cvtColor(pair.ir, cv2.COLOR_GRAY2RGB), fused):
        found = [each.box for each in detector.find(image)]
        hits = len(found) if pair.people is None else count_hits(found, pair.people)
        counts.append(str(hits))
    return [*counts, there]


if __name__ == "__main__":
    sys.exit(main())
