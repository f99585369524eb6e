"""How well does online alignment find a drift of known truth, and does it stay where it cannot?

    python benchmarks/online_alignment.py [--data DIR] [--motion similarity]

DIR holds registered pairs: `roadscene/{train,val}` and `msrs/train` with IR/ and VIS/. Infrared
images are moved by a known drift and offered one a second; columns, in pixels of the images:

* drift: mean displacement that the drift makes over the image;
* after 20, after 60: mean of the displacement that is left after 20 and 60 pairs;
* corner: the worst corner after the last pair;
* ms: processor time of a comparison (on the background thread), new maps included.

"different scenes" offers thermal images of other scenes, "visible dark" ones without light: the
correction has to stay at none. Data sets are themselves registered to a pixel or two.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import read_pairs
from irvis_fusion_core.registration import online_alignment
from irvis_fusion_core.registration.camera_geometry import project
from irvis_fusion_core.registration.warp_maps import StretchedRegistration
from training.tables import markdown_table

PAIRS = 60
DRIFTS: dict[str, tuple[Any, ...]] = {
    "none": (),
    "shift 9, -6": ((9.0, -6.0),),
    "shift 3, 12": ((3.0, 12.0),),
    "5, 4, 1 deg, 1 %": ((5.0, 4.0), 1.0, 1.01),
}
SETS = {
    "roadscene/train": "roadscene/train",
    "roadscene/val": "roadscene/val",
    "msrs day": "msrs/train@D",
    "msrs night": "msrs/train@N",
}
Pairs = Sequence[Sequence[np.ndarray]]
"""(IR, visible luminance), all of one size."""


def drift_matrix(
    size: Sequence[int], shift: Sequence[float] = (0, 0), turn_deg: float = 0, scale: float = 1
) -> np.ndarray:
    """Return the 3x3 map of a drift about the centre of an image of (height, width)."""
    matrix = cv2.getRotationMatrix2D(((size[1] - 1) / 2, (size[0] - 1) / 2), turn_deg, scale)
    matrix[:, 2] += shift
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def left_px(found: np.ndarray, true: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the distances between both maps on a 9x9 grid over the image."""
    x, y = np.meshgrid(np.linspace(0, size[1] - 1, 9), np.linspace(0, size[0] - 1, 9))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return np.linalg.norm(project(found, points) - project(true, points), axis=1)


def follow(pairs: Pairs, drift: np.ndarray, motion: str) -> list[float]:
    """Return the table's columns for pairs whose IR images drift."""
    stretched = StretchedRegistration(0.0)
    registration = online_alignment.OnlineRegistration(
        stretched, motion=motion, in_background=False
    )
    size = pairs[0][1].shape
    lefts, times = [left_px(registration.correction, drift, size)], []
    for number in range(PAIRS):
        ir, vis = pairs[number % len(pairs)]
        flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        moved = cv2.warpPerspective(ir, drift, size[::-1], flags=flags, borderMode=border)
        begin = time.thread_time()
        registration.offer(moved, vis, float(number))
        times.append(time.thread_time() - begin)
        lefts.append(left_px(registration.correction, drift, size))
    means = [float(lefts[number].mean()) for number in (0, 20, PAIRS)]
    return [*means, float(lefts[-1].max()), 1e3 * float(np.median(times))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "data")
    parser.add_argument("--motion", default="similarity")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    none = np.eye(3)
    for name, folder in SETS.items():
        found = [(pair.ir, pair.luma) for pair in read_pairs(options.data, folder, PAIRS)]
        size = found[0][1].shape
        pairs = [[cv2.resize(plane, size[::-1]) for plane in pair] for pair in found]
        shuffled = [(pairs[i - 7][0], vis) for i, (_, vis) in enumerate(pairs)]
        rng = np.random.default_rng(0)
        dark = [(ir, rng.normal(4, 2, size).clip(0, 255).astype(np.uint8)) for ir, _ in pairs]
        offers: dict[str, tuple[Pairs, np.ndarray]] = {
            what: (pairs, drift_matrix(size, *drift)) for what, drift in DRIFTS.items()
        }
        offers.update({"different scenes": (shuffled, none), "visible dark": (dark, none)})
        rows = {what: follow(*offer, options.motion) for what, offer in offers.items()}
        columns = ("drift", "after 20", "after 60", "corner", "ms")
        styles = (".2f", ".2f", ".2f", ".2f", ".1f")
        print(markdown_table(columns, rows, styles, name), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
