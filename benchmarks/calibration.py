"""How well are unregistered pairs aligned? The table of docs/calibration.md.

    python benchmarks/calibration.py [--data DIR] [--overlays DIR] [--synthetic 20] [--limit N]

DIR holds roadscene_unaligned/ (IR 640x512, visible about 1500x1000, every pair cropped otherwise,
so that each is calibrated alone, from one image) and roadscene/ (the same pairs as the makers of
the set registered them). Three measures, none of which the estimate uses:

* edges: distance from IR edges to visible ones of like direction, chance taken off
  (irvis_fusion_core/calibration/edge_distance.py). Beside it the same for IR stretched to the
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

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from irvis_fusion_core.calibration.edge_distance import edge_distance
from irvis_fusion_core.calibration.estimate import estimate_homography
from irvis_fusion_core.calibration.overlay import before_and_after
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.image_files import pairs_in, read_thermal, read_visible
from irvis_fusion_core.registration.camera_geometry import project

ALIGNED_PX = 4.0
ASIDE_PX = 8.0


def stretched(ir_size, vis_size):
    """The homography of resizing, (height, width) to (height, width)."""
    down, across = vis_size[0] / ir_size[0], vis_size[1] / ir_size[1]
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])


def moved(homography, dx, dy):
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]) @ homography


def same_camera_homography(raw, registered):
    """Raw to registered pixels of one camera's image, by SIFT and RANSAC; None where too few."""
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


def makers_homography(stem, ir, vis, registered):
    """IR to visible pixels as the makers of the set have it, or None."""
    if stem not in registered:
        return None
    pair = registered[stem]
    from_ir = same_camera_homography(ir, read_thermal(pair.ir))
    from_vis = same_camera_homography(
        cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY), cv2.imread(pair.vis, cv2.IMREAD_GRAYSCALE)
    )
    if from_ir is None or from_vis is None:
        return None
    return np.linalg.inv(from_vis) @ from_ir


def displacement(a, b, ir_size, vis_size):
    """Median distance between two maps over the common part of the images, visible pixels."""
    rows, columns = np.mgrid[0 : ir_size[0] : 16, 0 : ir_size[1] : 16]
    points = np.stack([columns.ravel(), rows.ravel()], 1).astype(float)
    first, second = project(a, points), project(b, points)
    inside = ((first >= 0) & (first < np.array(vis_size[::-1]))).all(axis=1)
    return float(np.median(np.linalg.norm(first - second, axis=1)[inside]))


def measure(pair, registered, overlays):
    """One row: a dict of figures; `failed` where the estimate was refused."""
    ir, vis = read_thermal(pair.ir), read_visible(pair.vis)
    begin = time.perf_counter()
    try:
        estimate = estimate_homography([(ir, vis)])
    except CalibrationError as error:
        return {"stem": pair.stem, "failed": str(error)}
    seconds = time.perf_counter() - begin
    h, sizes = estimate.homography, (ir.shape, vis.shape[:2])
    theirs = makers_homography(pair.stem, ir, vis, registered)
    aside = ASIDE_PX / np.sqrt(2)
    if overlays:
        overlays.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(overlays / f"{pair.stem}.png"), before_and_after(ir, vis, h))
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


def print_rows(rows):
    print(
        "| pair | scale | blocks | held-out px | **edges px** (90 %) | counterparts "
        "| raw / chance px | moved 8 px | stretched | makers' edges px | from makers px "
        "| aligned |"
    )
    print("|" + "---|" * 12)
    for row in rows:
        if "failed" in row:
            print(f"| {row['stem']} | refused: {row['failed'].partition(';')[0]} |" + " |" * 10)
            continue
        e = row["edges"]
        theirs, away = row["makers' edges"], row["from makers"]
        theirs = "-" if theirs is None else f"{theirs.median_px:.1f}"
        away = "-" if away is None else f"{away:.1f}"
        print(
            f"| {row['stem']} | {row['scale']:.2f} | {row['blocks']} | {row['held out']:.1f} "
            f"| **{e.median_px:.1f}** ({e.p90_px:.1f}) | {e.counterparts:.0%} "
            f"| {e.raw_median_px:.1f} / {e.chance_median_px:.1f} | {row['aside'].median_px:.1f} "
            f"| {row['stretched'].median_px:.1f} | {theirs} | {away} "
            f"| {'yes' if e.median_px <= ALIGNED_PX else 'no'} |"
        )


def summary(rows):
    done = [row for row in rows if "edges" in row]
    aligned = sum(row["edges"].median_px <= ALIGNED_PX for row in done)
    both = [row for row in done if row["makers' edges"] is not None]
    better = sum(row["edges"].median_px <= row["makers' edges"].median_px for row in both)
    print(
        f"\n{aligned} of {len(rows)} aligned to {ALIGNED_PX:g} px; {len(rows) - len(done)} refused"
    )
    print(
        f"stretched instead: {sum(r['stretched'].median_px <= ALIGNED_PX for r in done)} of "
        f"{len(rows)}; edge distance no worse than the makers' in {better} of {len(both)}"
    )
    if both:
        away = [row["from makers"] for row in both]
        print(
            f"from the makers' registration: median {np.median(away):.1f} px over pairs, largest "
            f"{max(away):.1f} px"
        )
    print(f"seconds a pair: median {np.median([row['seconds'] for row in done]):.1f}")


def random_homography(rng, size):
    """Corners move by up to 3 % of the diagonal, all by 8 %; 10 % in size, 3 degrees of turn."""
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    centre, diagonal = corners.mean(axis=0), np.hypot(height, width)
    turn, scale = np.deg2rad(rng.uniform(-3, 3)), rng.uniform(0.9, 1.1)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = (corners - centre) @ matrix.T + centre + rng.uniform(-0.08, 0.08, 2) * diagonal
    target += rng.uniform(-0.03, 0.03, (4, 2)) * diagonal
    return cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))


def synthetic(folder, count):
    """Stem, corner error, median error (pixels) of pairs with IR moved; inf where refused."""
    pairs = pairs_in(str(folder))
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(pairs) - 1, count).astype(int):
        ir, vis = read_thermal(pairs[index].ir), read_visible(pairs[index].vis)
        truth = random_homography(rng, ir.shape)
        size = ir.shape[::-1]
        # What lies outside stays unknown, as with a camera: black, and found out by nobody.
        displaced = cv2.warpPerspective(
            ir, np.linalg.inv(truth), size, borderMode=cv2.BORDER_REPLICATE
        )
        height, width = ir.shape
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
        try:
            found = estimate_homography([(displaced, vis)]).homography
        except CalibrationError:
            yield pairs[index].stem, np.inf, np.inf
            continue
        error = np.linalg.norm(project(found, corners) - project(truth, corners), axis=1)
        yield (
            pairs[index].stem,
            float(error.mean()),
            displacement(truth, found, size[::-1], size[::-1]),
        )


def rig(folder, ir_size=(512, 640), counts=(1, 4, 12), tries=3):
    """Number of pairs -> median errors in visible pixels (inf: refused) of one rig's pairs."""
    files = pairs_in(str(folder))
    vis_size = read_visible(files[0].vis).shape[:2]
    rng = np.random.default_rng(1)
    errors = {count: [] for count in counts}
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


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside)
    parser.add_argument("--overlays", type=Path, help="folder for images to look at")
    parser.add_argument("--synthetic", type=int, default=20, help="pairs of the synthetic part")
    parser.add_argument("--rigs", nargs="*", default=["llvip/train", "msrs/train"])
    parser.add_argument("--tries", type=int, default=3, help="homographies of each rig")
    parser.add_argument("--limit", type=int, help="pairs of the table")
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
        rows = [measure(pair, registered, options.overlays) for pair in pairs]
        print_rows(rows)
        summary(rows)
    if options.synthetic:
        errors = list(synthetic(options.data / "roadscene" / "train", options.synthetic))
        corners = np.array([corner for _, corner, _ in errors])
        inner = np.array([median for _, _, median in errors])
        print(
            f"\nsynthetic, {len(errors)} pairs of about 500x330: mean corner error "
            f"{np.median(corners):.2f} px (median over pairs), {np.percentile(corners, 90):.2f} "
            f"px (90 %); over the image {np.median(inner):.2f} px; "
            f"{int((corners <= 4).sum())} within 4 px; {int(np.isinf(corners).sum())} refused"
        )
    for name in options.rigs:
        errors = rig(options.data / name, tries=options.tries)
        cells = "; ".join(
            f"{count} pairs: " + ", ".join(f"{value:.1f}" for value in values)
            for count, values in errors.items()
        )
        print(
            f"rig {name}, {options.tries} homographies, median error in visible px (inf: "
            f"refused): {cells}"
        )


if __name__ == "__main__":
    main()
