"""How well are unregistered pairs aligned? The table of docs/calibration.md.

    python benchmarks/calibration.py [--data DIR] [--overlays DIR] [--synthetic 20] [--limit N]

DIR holds roadscene_unaligned/ (IR 640x512, visible about 1500x1000, every pair cropped otherwise,
so that each is calibrated alone, from one image) and roadscene/ (the same pairs as the makers of
the set registered them). Three measures, none of which the estimate uses:

* edges: distance from IR edges to visible ones of like direction, chance taken off
  (irvis_fusion_core/calibration/edge_distance.py). The same follows for IR stretched to the
  visible size, for the estimate moved aside by 8 px (what the measure makes of a known error), and
  for the makers' registration.
* makers: how far the estimate puts pixels from where the makers' registration has them. That is
  recovered by matching each raw image with its registered version (same camera: SIFT), and is
  itself no better than its own edge distance.
* synthetic: registered pairs whose IR image was moved by a known random homography; the error is
  that of the four corners of the image.
* rig: the same with one homography for many pairs of one camera rig, calibrated from 1, 4 and 12
  pairs together.

All in visible pixels. A pair counts as aligned when the median edge distance is 4 px or less.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.shared.options import make_parser
from benchmarks.shared.tables import markdown_table
from irvis_fusion_core.calibration.edge_distance import edge_distance
from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.calibration.overlay import before_and_after
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.image_files import (
    FilePair,
    pairs_in,
    read_thermal,
    read_visible,
    write_image,
)
from irvis_fusion_core.registration.camera_geometry import project

Size = tuple[int, int]
"""(height, width)."""
ALIGNED_PX = 4.0
ASIDE_PX = 8.0


def stretched(ir_size: Size, vis_size: Size) -> np.ndarray:
    """Return the homography of resizing."""
    down, across = vis_size[0] / ir_size[0], vis_size[1] / ir_size[1]
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])


def moved(homography: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Return the homography followed by a shift."""
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]) @ homography


def same_camera_homography(raw: np.ndarray, registered: np.ndarray) -> np.ndarray | None:
    """Return raw to registered pixels of one camera's image (SIFT, RANSAC); None where too few."""
    sift = cv2.SIFT_create(6000, contrastThreshold=0.01)
    raw_points, raw_words = sift.detectAndCompute(raw, None)
    new_points, new_words = sift.detectAndCompute(registered, None)
    matches = cv2.BFMatcher().knnMatch(new_words, raw_words, k=2)
    good = [a for a, b in matches if a.distance < 0.8 * b.distance]
    if len(good) < 50:
        return None
    start = np.array([raw_points[m.trainIdx].pt for m in good])
    end = np.array([new_points[m.queryIdx].pt for m in good])
    homography, inliers = cv2.findHomography(start, end, cv2.RANSAC, 2.0, maxIters=10000)
    return homography if homography is not None and inliers.sum() >= 50 else None


def makers_homography(
    ir: np.ndarray, vis: np.ndarray, registered: FilePair | None
) -> np.ndarray | None:
    """Return IR to visible pixels as the makers of the set registered them, or None."""
    if registered is None:
        return None
    from_ir = same_camera_homography(ir, read_thermal(registered.ir))
    from_vis = same_camera_homography(
        cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY), cv2.imread(registered.vis, cv2.IMREAD_GRAYSCALE)
    )
    if from_ir is None or from_vis is None:
        return None
    return np.linalg.inv(from_vis) @ from_ir


def displacement(a: np.ndarray, b: np.ndarray, ir_size: Size, vis_size: Size) -> float:
    """Return the median distance of two maps over both images' common part, visible pixels."""
    rows, columns = np.mgrid[0 : ir_size[0] : 16, 0 : ir_size[1] : 16]
    points = np.stack([columns.ravel(), rows.ravel()], 1).astype(float)
    first, second = project(a, points), project(b, points)
    inside = ((first >= 0) & (first < np.array(vis_size[::-1]))).all(axis=1)
    return float(np.median(np.linalg.norm(first - second, axis=1)[inside]))


def measure(pair: FilePair, registered: FilePair | None, overlays: Path | None) -> dict[str, Any]:
    """Return one row of figures; only `failed` where the estimate was refused."""
    ir, vis = read_thermal(pair.ir), read_visible(pair.vis)
    begin = time.perf_counter()
    try:
        estimate = estimate_homography([(ir, vis)])
    except CalibrationError as error:
        return {"stem": pair.stem, "failed": str(error)}
    seconds = time.perf_counter() - begin
    h, sizes = estimate.homography, (ir.shape, vis.shape[:2])
    theirs = makers_homography(ir, vis, registered)
    aside = ASIDE_PX / np.sqrt(2)
    if overlays:
        write_image(str(overlays / f"{pair.stem}.png"), before_and_after(ir, vis, h))
    return {
        "stem": pair.stem,
        "scale": float(np.sqrt(np.linalg.det(h[:2, :2]))),
        "blocks": f"{estimate.inliers}/{estimate.blocks}",
        "held out": estimate.median_px,
        "edges": edge_distance(ir, vis, h),
        "aside": edge_distance(ir, vis, moved(h, aside, aside)),
        "stretched": edge_distance(ir, vis, stretched(*sizes)),
        "makers' edges": None if theirs is None else edge_distance(ir, vis, theirs),
        "from makers": None if theirs is None else displacement(theirs, h, *sizes),
        "seconds": seconds,
    }


COLUMNS = (
    *("scale", "blocks", "held-out px", "**edges px** (90 %)", "counterparts"),
    *("raw / chance px", "moved 8 px", "stretched", "makers' edges px", "from makers px"),
    "aligned",
)


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row of the table as text."""
    if "failed" in row:
        return [f"refused: {row['failed'].partition(';')[0]}"] + [""] * (len(COLUMNS) - 1)
    e, theirs, away = row["edges"], row["makers' edges"], row["from makers"]
    return [
        f"{row['scale']:.2f}",
        row["blocks"],
        f"{row['held out']:.1f}",
        f"**{e.median_px:.1f}** ({e.p90_px:.1f})",
        f"{e.counterparts:.0%}",
        f"{e.raw_median_px:.1f} / {e.chance_median_px:.1f}",
        f"{row['aside'].median_px:.1f}",
        f"{row['stretched'].median_px:.1f}",
        "-" if theirs is None else f"{theirs.median_px:.1f}",
        "-" if away is None else f"{away:.1f}",
        "yes" if e.median_px <= ALIGNED_PX else "no",
    ]


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the text below the table."""
    done = [row for row in rows if "edges" in row]
    aligned = sum(row["edges"].median_px <= ALIGNED_PX for row in done)
    both = [row for row in done if row["makers' edges"] is not None]
    better = sum(row["edges"].median_px <= row["makers' edges"].median_px for row in both)
    lines = [
        f"\n{aligned} of {len(rows)} aligned to {ALIGNED_PX:g} px; "
        f"{len(rows) - len(done)} refused",
        f"stretched instead: {sum(r['stretched'].median_px <= ALIGNED_PX for r in done)} of "
        f"{len(rows)}; edge distance no worse than the makers' in {better} of {len(both)}",
    ]
    if both:
        away = [row["from makers"] for row in both]
        lines.append(
            f"from the makers' registration: median {np.median(away):.1f} px over pairs, largest "
            f"{max(away):.1f} px"
        )
    lines.append(f"seconds a pair: median {np.median([row['seconds'] for row in done]):.1f}")
    return "\n".join(lines)


def random_homography(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return 8 % shift of all corners, 3 % of each (of the diagonal), 10 % in size, 3 degrees."""
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    centre, diagonal = corners.mean(axis=0), np.hypot(height, width)
    turn, scale = np.deg2rad(rng.uniform(-3, 3)), rng.uniform(0.9, 1.1)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = (corners - centre) @ matrix.T + centre + rng.uniform(-0.08, 0.08, 2) * diagonal
    target += rng.uniform(-0.03, 0.03, (4, 2)) * diagonal
    return cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))


def synthetic(folder: Path, count: int) -> Iterator[tuple[str, float, float]]:
    """Yield stem, corner error, median error (px) of pairs with IR moved; inf where refused."""
    pairs = pairs_in(str(folder))
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(pairs) - 1, count).astype(int):
        ir, vis = read_thermal(pairs[index].ir), read_visible(pairs[index].vis)
        truth = random_homography(rng, ir.shape)
        height, width = ir.shape
        displaced = cv2.warpPerspective(
            ir, np.linalg.inv(truth), (width, height), borderMode=cv2.BORDER_REPLICATE
        )
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
        try:
            found = estimate_homography([(displaced, vis)]).homography
        except CalibrationError:
            yield pairs[index].stem, np.inf, np.inf
            continue
        error = np.linalg.norm(project(found, corners) - project(truth, corners), axis=1)
        inner = displacement(truth, found, ir.shape, ir.shape)
        yield pairs[index].stem, float(error.mean()), inner


def rig(
    folder: Path, tries: int, ir_size: Size = (512, 640), counts: Sequence[int] = (1, 4, 12)
) -> dict[int, list[float]]:
    """Return number of pairs -> median errors of one rig's, visible px; inf where refused."""
    files = pairs_in(str(folder))
    vis_size = read_visible(files[0].vis).shape[:2]
    rng = np.random.default_rng(1)
    errors: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(tries):
        truth = random_homography(rng, vis_size) @ stretched(ir_size, vis_size)
        chosen = rng.permutation(len(files))[: max(counts)]
        pairs = []
        for file in (files[i] for i in chosen):
            seen = cv2.warpPerspective(
                cv2.resize(read_thermal(file.ir), vis_size[::-1]),
                np.linalg.inv(truth),
                ir_size[::-1],
                flags=cv2.INTER_AREA,
                borderMode=cv2.BORDER_REPLICATE,
            )
            pairs.append((seen, read_visible(file.vis)))
        for count in counts:
            try:
                found = estimate_homography(pairs[:count]).homography
                errors[count].append(displacement(truth, found, ir_size, vis_size))
            except CalibrationError:
                errors[count].append(np.inf)
    return errors


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
    registered = {
        pair.stem: pair
        for part in ("train", "val")
        for pair in pairs_in(str(options.data / "roadscene" / part))
    }
    pairs = pairs_in(str(options.data / "roadscene_unaligned"))[: options.limit]
    if pairs:
        rows = [measure(each, registered.get(each.stem), options.overlays) for each in pairs]
        shown = {row["stem"]: cells(row) for row in rows}
        print(markdown_table(COLUMNS, shown, corner="pair"))
        print(summary(rows))
    if options.synthetic:
        found = list(synthetic(options.data / "roadscene" / "train", options.synthetic))
        corners = np.array([corner for _, corner, _ in found])
        inner = np.array([median for _, _, median in found])
        print(
            f"\nsynthetic, {len(found)} pairs of about 500x330: mean corner error "
            f"{np.median(corners):.2f} px (median over pairs), {np.percentile(corners, 90):.2f} "
            f"px (90 %); over the image {np.median(inner):.2f} px; "
            f"{int((corners <= 4).sum())} within 4 px; {int(np.isinf(corners).sum())} refused"
        )
    for name in options.rigs:
        errors = rig(options.data / name, options.tries)
        figures = "; ".join(
            f"{count} pairs: " + ", ".join(f"{value:.1f}" for value in values)
            for count, values in errors.items()
        )
        print(
            f"rig {name}, {options.tries} homographies, median error in visible px (inf: "
            f"refused): {figures}"
        )


if __name__ == "__main__":
    main()
