"""How exact is a calibration without a board? Errors against true homographies.

    python benchmarks/calibration_accuracy.py [--data DIR] [--limit N] [--rigs 3] [--frames 4 12]
    python benchmarks/calibration_accuracy.py --estimate package.module:function

The pairs are those of RoadScene as the cameras gave them, with the homographies of the set's
makers (benchmarks/calibration/true_homographies.py). Three parts:

* one pair: every pair is calibrated alone, because each was cropped otherwise. Pairs at even
  places served to tune the method, those at odd places did not.
* one rig: the visible images of several pairs are brought to one homography, and calibrated
  together.
* wrong pairs: IR of one pair with the visible image of another. These must be refused.

Errors are pixels of a visible image 640 wide: median and worst over the common part. The makers'
homographies have errors of their own. The mutual information of the images, which neither the
makers nor the estimate use, tells for each pair which of the two fits better.

FUNCTION takes a list of (IR, visible) images and returns the 3x3 homography, or raises
CalibrationError.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import importlib
from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.calibration.homographies import Estimator, boardless, estimated
from benchmarks.calibration.true_homographies import (
    PointErrors,
    TruePair,
    mutual_information,
    one_rig,
    point_errors,
    true_pairs,
)
from benchmarks.shared.options import machine_facts, make_parser
from training.tables import markdown_table


def found_by(estimate: Estimator, pairs: Sequence[TruePair]) -> np.ndarray | None:
    """Return the homography of pairs together; None where they are refused."""
    return estimated([(pair.ir, pair.vis) for pair in pairs], estimate)


def errors_of(found: np.ndarray | None, pair: TruePair) -> PointErrors | None:
    """Return the errors of a homography against that of the pair; None without one."""
    if found is None:
        return None
    return point_errors(found, pair.homography, pair.ir.shape, pair.vis.shape[:2])


def fits_better(found: np.ndarray, pair: TruePair) -> bool:
    """Return whether mutual information prefers a homography to that of the pair."""
    own, theirs = (mutual_information(pair.ir, pair.vis, h) for h in (found, pair.homography))
    return own > theirs


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
    help_text = "frames of a rig (default: 4 12)"
    parser.add_argument("--frames", nargs="*", type=int, default=[4, 12], help=help_text)
    parser.add_argument("--wrong", type=int, default=24, help="wrong pairs (default: 24)")
    options = parser.parse_args(arguments)
    machine_facts(options, "data")
    cv2.setNumThreads(1)
    pairs = list(true_pairs(options.data, options.limit))
    found = [found_by(options.estimate, [pair]) for pair in pairs]
    errors = [errors_of(h, pair) for h, pair in zip(found, pairs)]
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
            rig = one_rig(chosen, rng)
            rigs.append(errors_of(found_by(options.estimate, rig), rig[0]))
        rows.update(summary(f"one rig, {count} frames", rigs))
    crossed = [
        (pairs[i].ir, pairs[(i + len(pairs) // 2) % len(pairs)])
        for i in range(min(options.wrong, len(pairs)))
    ]
    wrong = [found_by(options.estimate, [other._replace(ir=ir)]) for ir, other in crossed]
    columns = ("cases", "refused", "median px", "90 % of cases", "worst point", "worst of all")
    print()
    print(markdown_table(columns, rows, corner="calibrated from"))
    better = [fits_better(h, pair) for h, pair in zip(found, pairs) if h is not None]
    print(f"\nmutual information prefers the estimate in {sum(better)} of {len(better)} pairs")
    print(f"wrong pairs: {sum(w is None for w in wrong)} of {len(wrong)} refused")


if __name__ == "__main__":
    main()
