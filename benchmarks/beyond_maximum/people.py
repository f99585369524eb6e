"""Who is found at night by a detector that knows nothing of thermal images?

Nobody has drawn boxes into these images, so what is right and wrong is a proxy:

* a find counts as a *warm* one, taken for a person, if the middle of its box is clearly warmer in
  IR than what lies to both sides of the box; any other find is *elsewhere*, taken for false. A
  warm engine or a heated wall passes for a person, and a well insulated person does not.
* *all that was found*: the warm finds of every row of the table together, each place once. A row's
  share of it says how many of them it has. Another set of rows is another pool.

The maximum and the mean get the visible image's colours, as the models' images have them.

The visible row is what a robot has without a thermal camera. HOG sees outlines: a thermal image
alone suits it at night, so the row of IR alone is the bar for the gain by thermal images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from benchmarks.beyond_maximum.measures import ratio
from benchmarks.beyond_maximum.report import Crops, Table, counted
from benchmarks.shared.fusions import Fusion, in_colour
from benchmarks.shared.pairs import Pair
from irvis_fusion_core.detectors import detection
from irvis_fusion_core.detectors.detection import Box, Detection
from irvis_fusion_core.detectors.people_detector import MIN_OVERLAP, PeopleDetector

# Mean of the middle above the median of the sides: grey levels, and share of the image's range
# from its median to its hottest, for people are among the warmest at night.
WARMER, WARMER_SHARE = 10.0, 0.25
# The detector's box leaves a sixth free on each side; a person fills the middle of the rest.
CORE_WIDTH, CORE_HEIGHT = (0.35, 0.65), (0.15, 0.85)
SIDE_WIDTH = 0.5  # of the box's width, to either side
# A person less high than 96 px is not searched for. Smaller images are enlarged, all rows alike.
LEAST_HEIGHT = 900
ENLARGED = 2

COLUMNS = {
    **dict.fromkeys(("found", "warm", "elsewhere"), "d"),
    **dict.fromkeys(("warm share", "of all that was found"), ".0%"),
}


def is_warm(ir: np.ndarray, found: Detection) -> bool:
    """Return whether the middle of the box is warmer than both sides of the box."""
    core = _part(ir, found.box, CORE_WIDTH, CORE_HEIGHT)
    beside = (-SIDE_WIDTH, 0.0), (1.0, 1.0 + SIDE_WIDTH)
    sides = np.concatenate([_part(ir, found.box, width, (0.0, 1.0)).ravel() for width in beside])
    if core.size == 0 or sides.size == 0:
        return False
    middling, hottest = np.percentile(ir, (50, 99.5))
    least = max(WARMER, WARMER_SHARE * (hottest - middling))
    return float(core.mean() - np.median(sides)) >= least


def once_each(found: Sequence[Detection]) -> list[Detection]:
    """Return the surest of finds that overlap as the same person would."""
    if not found:
        return []
    boxes = np.array([[b.left, b.top, b.left + b.width, b.top + b.height] for b, _, _ in found])
    _, scores, labels = map(np.array, zip(*found))
    return [found[i] for i in detection.suppress_overlaps(boxes, scores, labels, MIN_OVERLAP)]


def people(
    pairs: Iterable[Pair], fusions: Mapping[str, Fusion], crops: Crops, title: str
) -> Table:
    """Return the table of finds on every fusion's images."""
    detector = PeopleDetector()
    counts = {name: np.zeros(3, int) for name in fusions}  # found, warm, warm and in the pool
    used, pooled = [], 0
    for pair in pairs:
        used.append(pair.name)
        factor = ENLARGED if pair.ir.shape[0] < LEAST_HEIGHT else 1
        ir = cv2.resize(pair.ir, None, fx=factor, fy=factor)
        warm, shown = {}, {"IR": ir}
        for name, fuse in fusions.items():
            image = in_colour(name, fuse(pair), pair.vis)
            image = cv2.resize(image, None, fx=factor, fy=factor)
            found = once_each(detector.find(image))
            warm[name] = [each for each in found if is_warm(ir, each)]
            counts[name] += (len(found), len(warm[name]), 0)
            shown[name] = _drawn(image, found, warm[name])
        pool = once_each([each for finds in warm.values() for each in finds])
        pooled += len(pool)
        truth = [detection.Truth(each.box, each.label) for each in pool]
        for name, finds in warm.items():
            counts[name][2] += detection.count_matches(finds, truth, MIN_OVERLAP)
        for name, image in shown.items():
            shown[name] = cv2.resize(image, (240, 180), interpolation=cv2.INTER_AREA)
        crops.add_row(len(pool), pair.name, shown)
    rows = {
        name: [int(n), int(hits), int(n - hits), ratio(hits, n), ratio(shared, pooled)]
        for name, (n, hits, shared) in counts.items()
    }
    note = (
        f"{len(used)} night images ({counted(used)}), those less than {LEAST_HEIGHT} high "
        f"enlarged {ENLARGED} times; {pooled} warm places found by any row. No boxes are known: "
        "warm is a proxy for right."
    )
    return Table(title, COLUMNS, rows, note)


def _part(
    ir: np.ndarray, box: Box, width: tuple[float, float], height: tuple[float, float]
) -> np.ndarray:
    """Return the image between two shares of a box's width and of its height; may be empty."""
    left, right = (max(int(round(box.left + share * box.width)), 0) for share in width)
    top, bottom = (max(int(round(box.top + share * box.height)), 0) for share in height)
    return ir[top:bottom, left:right]


def _drawn(image: np.ndarray, found: Sequence[Detection], warm: Sequence[Detection]) -> np.ndarray:
    """Return the image with the finds as boxes: green where warm, red elsewhere."""
    drawn = image.copy()
    for each in found:
        left, top, width, height = each.box
        colour = (0, 255, 0) if each in warm else (255, 0, 0)
        end = int(left + width), int(top + height)
        cv2.rectangle(drawn, (int(left), int(top)), end, colour, 3)
    return drawn
