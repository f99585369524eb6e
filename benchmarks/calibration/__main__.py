"""How well are unregistered pairs aligned? The table of docs/calibration.md.

    python -m benchmarks.calibration [--data DIR] [--overlays DIR] [--synthetic 20] [--limit N]

DIR holds roadscene_unaligned/ (IR 640x512, visible about 1500x1000, every pair cropped otherwise,
so that each is calibrated alone, from one image) and roadscene/ (the same pairs as the makers of
the set registered them). Three measures, none of which the estimate uses:

* edges: distance from IR edges to visible ones of like direction, chance taken off
  (irvis_fusion_core/calibration/edge_distance.py). The same follows for IR stretched to the
  visible size, for the estimate moved aside by 8 px (what the measure makes of a known error), and
  for the makers' registration.
* makers: how far the estimate puts pixels from where the makers' registration has them
  (`true_homographies`), which is itself no better than its own edge distance.
* synthetic: registered pairs whose IR image was moved by a known random homography; the error is
  that of the four corners of the image.
* rig: the same with one homography for many pairs of one camera rig, calibrated from 1, 4 and 12
  pairs together.

All in visible pixels. A pair counts as aligned when the median edge distance is 4 px or less.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.calibration.homographies import distances, rig, synthetic
from benchmarks.calibration.true_homographies import true_pairs
from benchmarks.shared.options import make_parser
from irvis_fusion_core import image_files
from irvis_fusion_core.calibration.edge_distance import edge_distance
from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.calibration.overlay import before_and_after
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_geometry import scale_of, stretch
from training.tables import markdown_table

ALIGNED_PX = 4.0
ASIDE_PX = 8.0
COLUMNS = (
    *("scale", "blocks", "held-out px", "**edges px** (90 %)", "counterparts"),
    *("raw / chance px", "moved 8 px", "stretched", "makers' edges px", "from makers px"),
    "aligned",
)


def measure(
    pair: image_files.FilePair, theirs: np.ndarray | None, overlays: Path | None
) -> dict[str, Any]:
    """Return one row of figures; only `failed` where the estimate was refused.

    `theirs` is the homography of the makers, where it is known.
    """
    ir, vis = image_files.read_thermal(pair.ir), image_files.read_visible(pair.vis)
    begin = time.perf_counter()
    try:
        estimate = estimate_homography([(ir, vis)])
    except CalibrationError as error:
        return {"stem": pair.stem, "failed": str(error)}
    seconds = time.perf_counter() - begin
    h, sizes = estimate.homography, (ir.shape, vis.shape[:2])
    away = None if theirs is None else float(np.median(distances(h, theirs, *sizes, 16)))
    aside = np.eye(3)
    aside[:2, 2] = ASIDE_PX / np.sqrt(2)
    if overlays:
        image_files.write_image(str(overlays / f"{pair.stem}.png"), before_and_after(ir, vis, h))
    return {
        "stem": pair.stem,
        "scale": scale_of(h),
        "blocks": f"{estimate.inliers}/{estimate.blocks}",
        "held out": estimate.median_px,
        "edges": edge_distance(ir, vis, h),
        "aside": edge_distance(ir, vis, aside @ h),
        "stretched": edge_distance(ir, vis, stretch(*sizes)),
        "makers' edges": None if theirs is None else edge_distance(ir, vis, theirs),
        "from makers": away,
        "seconds": seconds,
    }


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row of the table as text."""
    if "failed" in row:
        return [f"refused: {row['failed'].partition(';')[0]}"] + [""] * (len(COLUMNS) - 1)
    e, theirs, away = row["edges"], row["makers' edges"], row["from makers"]
    return [
        *(f"{row['scale']:.2f}", row["blocks"], f"{row['held out']:.1f}"),
        *(f"**{e.median_px:.1f}** ({e.p90_px:.1f})", f"{e.counterparts:.0%}"),
        f"{e.raw_median_px:.1f} / {e.chance_median_px:.1f}",
        *(f"{row[key].median_px:.1f}" for key in ("aside", "stretched")),
        "-" if theirs is None else f"{theirs.median_px:.1f}",
        "-" if away is None else f"{away:.1f}",
        "yes" if e.median_px <= ALIGNED_PX else "no",
    ]


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the text below the table."""
    done = [row for row in rows if "edges" in row]
    both = [row for row in done if row["makers' edges"] is not None]
    better = sum(row["edges"].median_px <= row["makers' edges"].median_px for row in both)
    close = {k: sum(r[k].median_px <= ALIGNED_PX for r in done) for k in ("edges", "stretched")}
    text = (
        f"\n{close['edges']} of {len(rows)} aligned to {ALIGNED_PX:g} px; "
        f"{len(rows) - len(done)} refused\nstretched instead: {close['stretched']} of "
        f"{len(rows)}; edge distance no worse than the makers' in {better} of {len(both)}\n"
    )
    if both:
        away = [row["from makers"] for row in both]
        text += f"from the makers' registration: median {np.median(away):.1f} px over pairs, "
        text += f"largest {max(away):.1f} px\n"
    return f"{text}seconds a pair: median {np.median([row['seconds'] for row in done]):.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and the synthetic parts."""
    parser = make_parser(__doc__, "data limit")
    parser.add_argument("--overlays", type=Path, help="folder for images to look at")
    parser.add_argument("--synthetic", type=int, default=20, help="pairs of the synthetic part")
    parser.add_argument("--rigs", nargs="*", default=["llvip/train", "msrs/train"])
    parser.add_argument("--tries", type=int, default=3, help="homographies of each rig")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    raw = image_files.pairs_in(str(options.data / "roadscene_unaligned"))[: options.limit]
    if raw:
        known = {pair.stem: pair.homography for pair in true_pairs(options.data, options.limit)}
        rows = [measure(each, known.get(each.stem), options.overlays) for each in raw]
        shown = {row["stem"]: cells(row) for row in rows}
        print(markdown_table(COLUMNS, shown, corner="pair"))
        print(summary(rows))
    if options.synthetic:
        found = synthetic(options.data / "roadscene" / "train", options.synthetic)
        corners, inner = np.array([errors for _, *errors in found]).T
        print(
            f"\nsynthetic, {len(corners)} pairs of about 500x330: mean corner error "
            f"{np.median(corners):.2f} px (median over pairs), {np.percentile(corners, 90):.2f} "
            f"px (90 %); over the image {np.median(inner):.2f} px; "
            f"{int((corners <= 4).sum())} within 4 px; {int(np.isinf(corners).sum())} refused"
        )
    for name in options.rigs:
        title = f"rig {name}, {options.tries} homographies, median error in visible px"
        errors = rig(options.data / name, options.tries)
        figures = (f"{n} pairs: " + ", ".join(f"{v:.1f}" for v in errors[n]) for n in errors)
        print(f"{title} (inf: refused): {'; '.join(figures)}")


if __name__ == "__main__":
    main()
