"""How exact is a calibration without a board? Errors against true homographies.

    python benchmarks/calibration_accuracy.py [--data DIR] [--limit N] [--rigs 3] [--frames 4 12]
    python benchmarks/calibration_accuracy.py --estimate package.module:function

The pairs are those of RoadScene as the cameras gave them, with the homographies of the set's
makers (benchmarks/shared/true_homographies.py). Three parts:

* one pair: every pair is calibrated alone, because each was cropped otherwise. Pairs at even
  places served to tune the method, those at odd places did not.
* one rig: the visible images of several pairs are brought to one homography, and calibrated
  together.
* wrong pairs: IR of one pair with the visible image of another. These must be refused.

Errors are pixels of a visible image 640 wide: median and worst over the common part. FUNCTION
takes a list of (IR, visible) images and returns the 3x3 homography, or raises CalibrationError.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import importlib
from collections.abc import Callable, Sequence
from typing import Tuple

import cv2
import numpy as np

from benchmarks.shared.options import machine_facts, make_parser
from benchmarks.shared.true_homographies import PointErrors, TruePair, one_rig, point_errors
from benchmarks.shared.true_homographies import true_pairs as read_true_pairs
from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.errors import CalibrationError
from training.tables import markdown_table

Images = Sequence[Tuple[np.ndarray, np.ndarray]]
Estimator = Callable[[Images], np.ndarray]


def boardless(images: Images) -> np.ndarray:
    """Return what `irvis_fusion calibrate` finds."""
    return estimate_homography(images).homography


def errors_of(estimate: Estimator, pairs: Sequence[TruePair]) -> PointErrors | None:
    """Return the errors of pairs of one homography together; None where they are refused."""
    try:
        found = estimate([(pair.ir, pair.vis) for pair in pairs])
    except CalibrationError:
        return None
    first = pairs[0]
    return point_errors(found, first.homography, first.ir.shape, first.vis.shape[:2])


def summary(title: str, errors: Sequence[PointErrors | None]) -> dict[str, list[str]]:
    """Return one row of the table: the median over pairs, 90 % of them, and the worst points."""
    known = np.array([each for each in errors if each is not None]).reshape(-1, 2)
    row = [str(len(errors)), str(len(errors) - len(known))]
    if len(known):
        middle, worst = known.T
        figures = (np.median(middle), np.percentile(middle, 90), np.median(worst), worst.max())
        row += [f"{figure:.2f}" for figure in figures]
    return {title: row + ["-"] * (6 - len(row))}


def named(text: str) -> Estimator:
    """Return the function that MODULE:FUNCTION names."""
    module, _, function = text.partition(":")
    return getattr(importlib.import_module(module), function)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the errors of every pair, and the table of all parts."""
    parser = make_parser(__doc__, "data limit")
    parser.add_argument("--estimate", type=named, default=boardless, metavar="MODULE:FUNCTION")
    parser.add_argument("--rigs", type=int, default=3, help="random rigs (default: 3)")
    counts = {"nargs": "*", "type": int, "default": [4, 12], "help": "frames of a rig"}
    parser.add_argument("--frames", **counts)
    parser.add_argument("--wrong", type=int, default=24, help="wrong pairs (default: 24)")
    options = parser.parse_args(arguments)
    machine_facts(options, "data")
    cv2.setNumThreads(1)
    pairs = list(read_true_pairs(options.data, options.limit))
    errors = [errors_of(options.estimate, [pair]) for pair in pairs]
    for pair, error in zip(pairs, errors):
        figures = error and f"median {error.median_px:.2f}, worst {error.worst_px:.2f}"
        print(f"{pair.stem}  {figures or 'refused'}")
    rows = summary("one pair", errors)
    rows.update(summary("- tuned on (even)", errors[::2]))
    rows.update(summary("- not tuned on (odd)", errors[1::2]))
    rng = np.random.default_rng(0)
    for count in options.frames:
        rigs = []
        for _ in range(options.rigs):
            chosen = [pairs[i] for i in rng.permutation(len(pairs))[:count]]
            rigs.append(errors_of(options.estimate, one_rig(chosen, rng)))
        rows.update(summary(f"one rig, {count} frames", rigs))
    crossed = [
        (pairs[i].ir, pairs[(i + len(pairs) // 2) % len(pairs)])
        for i in range(min(options.wrong, len(pairs)))
    ]
    wrong = [errors_of(options.estimate, [other._replace(ir=ir)]) for ir, other in crossed]
    columns = ("cases", "refused", "median px", "90 % of cases", "worst point", "worst of all")
    print()
    print(markdown_table(columns, rows, corner="calibrated from"))
    print(f"\nwrong pairs: {sum(w is None for w in wrong)} of {len(wrong)} refused")


if __name__ == "__main__":
    main()
