"""Fuse a drawn night street or your own pairs, and leave images to look at.

examples::

  irvis_fusion demo --output out/demo
  DEMO_PAIRS=my_pairs irvis_fusion demo      (a folder with IR/ and VIS/)
"""

import os
import sys
import time
from typing import Any, List, Optional

import cv2
import numpy as np

from irvis_fusion_core.command_line import (
    add_engine_options,
    command,
    make_parser,
    open_fusion,
    print_table,
    show_progress,
)
from irvis_fusion_core.demo.demo_pairs import DemoPair, DemoPairs
from irvis_fusion_core.detectors.people_detector import PeopleDetector, count_hits
from irvis_fusion_core.errors import EngineUnavailableError
from irvis_fusion_core.image_files import write_image

GIF_WIDTH = 320  # of each of the three images


def make_demo_parser() -> Any:
    """The options of the demo, with or without ROS."""
    parser = make_parser(__doc__, "demo")
    parser.add_argument("--output", default="out/demo", help="folder (default: out/demo)")
    parser.add_argument(
        "--pairs",
        default=os.environ.get("DEMO_PAIRS"),
        metavar="DIR",
        help="folder with IR/ and VIS/ (default: $DEMO_PAIRS, else a drawn street)",
    )
    parser.add_argument("--count", type=int, default=16, help="pairs to fuse (default: 16)")
    add_engine_options(parser)
    return parser


@command
def main(arguments: List[str]) -> int:
    """Run the core alone, without ROS."""
    show_core(make_demo_parser().parse_args(arguments))
    return 0


def show_core(options: Any) -> None:
    """Fuse, write images, and print what a people detector finds in them."""
    pairs = DemoPairs(options.pairs)
    print("Fusing %s" % pairs.title)
    rows = [["image", "fuse ms", "people on visible", "on thermal", "on fused", "are there"]]
    strips = []
    detector = make_detector()
    with open_fusion(options) as fusion:
        fusion.warm_up(pairs.height, pairs.width)
        for pair in show_progress(pairs.first(options.count), options.count):
            started = time.perf_counter()
            fused = fusion.fuse_frame(pair.ir, pair.vis)
            elapsed_ms = 1e3 * (time.perf_counter() - started)
            rows.append([pair.name, "%.1f" % elapsed_ms, *_people(detector, pair, fused)])
            strips.append(side_by_side(pair, fused))
            write_image(os.path.join(options.output, pair.name + ".png"), strips[-1][..., ::-1])
        facts = fusion.describe()
    print_table(rows)
    film = write_film(strips, options.output, 4.0)
    print("%s on %s, model %s" % (facts["engine"], facts["device"], facts["variant"]))
    print(
        "%d images (visible | thermal | fused) and %s are in %s"
        % (len(strips), os.path.basename(film), options.output)
    )


def make_detector() -> Optional[PeopleDetector]:
    """A people detector; None, with a line that says why, where this OpenCV has none."""
    try:
        return PeopleDetector()
    except EngineUnavailableError as error:
        print(error, file=sys.stderr)
        return None


def side_by_side(pair: DemoPair, fused: np.ndarray) -> np.ndarray:
    """Visible, thermal and fused in one RGB image, with their names."""
    panels = (pair.vis, cv2.cvtColor(pair.ir, cv2.COLOR_GRAY2RGB), fused)
    named = []
    for panel, name in zip(panels, ("visible", "thermal", "fused")):
        panel = panel.copy()
        for colour, thickness in ((0, 4), (255, 1)):  # readable on light and on dark
            cv2.putText(
                panel,
                name,
                (10, 24),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.7,
                (colour,) * 3,
                thickness,
                cv2.LINE_AA,
            )
        named.append(panel)
    return np.hstack(named)


def write_film(strips: List[np.ndarray], folder: str, rate_hz: float) -> str:
    """Write RGB images of one size as a GIF, or as an MP4 where OpenCV writes none."""
    height, width = strips[0].shape[:2]
    scale = min(1.0, 3.0 * GIF_WIDTH / width)
    size = (2 * int(width * scale / 2), 2 * int(height * scale / 2))
    frames = [cv2.resize(s, size, interpolation=cv2.INTER_AREA)[..., ::-1] for s in strips]
    if hasattr(cv2, "imwriteanimation"):  # OpenCV 4.11 and newer
        animation = cv2.Animation()
        animation.frames = [np.ascontiguousarray(frame) for frame in frames]
        animation.durations = np.full(len(frames), int(1e3 / rate_hz), np.int32)
        target = os.path.join(folder, "demo.gif")
        if cv2.imwriteanimation(target, animation):
            return target
    target = os.path.join(folder, "demo.mp4")
    video = cv2.VideoWriter(target, cv2.VideoWriter_fourcc(*"mp4v"), rate_hz, size)
    for frame in frames:
        video.write(np.ascontiguousarray(frame))
    video.release()
    return target


def _people(detector: Optional[PeopleDetector], pair: DemoPair, fused: np.ndarray) -> List[str]:
    """Found on visible, on thermal and on fused, and how many there are, for the table."""
    there = "?" if pair.people is None else str(len(pair.people))
    if detector is None:
        return ["-", "-", "-", there]
    counts = []
    for image in (pair.vis, cv2.cvtColor(pair.ir, cv2.COLOR_GRAY2RGB), fused):
        found = detector.find(image)
        hits = len(found) if pair.people is None else count_hits(found, pair.people)
        counts.append(str(hits))
    return [*counts, there]


if __name__ == "__main__":
    sys.exit(main())
