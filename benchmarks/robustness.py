"""How does fusion stand a misaligned infrared image? Quality and doubled edges, table and plot.

    python benchmarks/robustness.py --model nano --model small [--model runs/a/best.pth=with]
        [--data DIR] [--sets msrs/val roadscene/val] [--limit 10] [--plot robustness.png]

The IR image of registered pairs is shifted by 0, 2, 4 and 8 px (in a direction that goes round
from pair to pair) and turned by 0.5, 1 and 2 degrees about the centre; then it is fused. MODEL is
a shipped name, an .onnx, or a checkpoint; `=NAME` names its row. `maximum` and `mean` come along.

* Qabf, VIF, SSIM: of the fused image against the visible and the *registered* IR image, as it
  should look. (Against the displaced one, a fusion that doubles edges is rewarded.)
* extra edges: at visible edges that the registered IR image shares, how many more maxima the
  fused image's gradient has along the edge's normal (12 px to either side, at least 0.3 of the
  edge's own) than the visible image's. A doubled edge adds one. 0 shift gives the floor.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reference_rows import default_data, read_pairs, trivial_rows
from irvis_fusion_core import metrics

METRICS = ("Qabf", "VIF", "SSIM")
CASES = tuple(("shift", value) for value in (0, 2, 4, 8)) + tuple(
    ("turn", value) for value in (0.5, 1.0, 2.0)
)
UNITS = {"shift": "px", "turn": "deg"}
REACH_PX = 12
LEAST_SHARE = 0.3
# Edges are shared where both cameras have one of like direction within this distance.
SHARED_PX = 2.0


def displaced(ir, kind, value, number):
    """The IR image of pair `number`, shifted or turned; its border is repeated outwards."""
    height, width = ir.shape
    angle = 2 * np.pi * (number * 0.381966)  # the golden angle: directions spread evenly
    if kind == "shift":
        matrix = np.array([[1, 0, value * np.cos(angle)], [0, 1, value * np.sin(angle)]])
    else:
        sign = 1 if number % 2 else -1
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sign * value, 1.0)
    if value == 0:
        return ir
    return cv2.warpAffine(
        ir, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def gradient(image):
    """Magnitude and direction of a grey image's gradient at about 1 px."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.hypot(gx, gy), np.arctan2(gy, gx)


def edges(image):
    magnitude, _ = gradient(image)
    high = float(np.percentile(magnitude, 92))
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    return cv2.Canny(smooth, 0.5 * high, max(high, 20.0), L2gradient=True) > 0


def shared_edges(ir, vis):
    """Rows, columns and normals (radians) of thin visible edges that IR has too."""
    _, vis_angle = gradient(vis)
    _, ir_angle = gradient(ir)
    ir_edges = edges(ir)
    distance, labels = cv2.distanceTransformWithLabels(
        (~ir_edges).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest_angle = np.zeros(labels.max() + 1)
    nearest_angle[labels[ir_edges]] = ir_angle[ir_edges]
    difference = np.abs(np.cos(vis_angle - nearest_angle[labels]))
    shared = edges(vis) & (distance <= SHARED_PX) & (difference > np.cos(np.deg2rad(22.5)))
    border = REACH_PX + 2
    shared[:border], shared[-border:] = False, False
    shared[:, :border], shared[:, -border:] = False, False
    rows, columns = np.nonzero(shared)
    return rows, columns, vis_angle[rows, columns]


def maxima_along_normals(image, places):
    """How many maxima the gradient has along the normal of each place (float N)."""
    rows, columns, normals = places
    magnitude, _ = gradient(image)
    along = np.arange(-REACH_PX, REACH_PX + 1)
    profile = cv2.remap(
        magnitude,
        (columns[:, None] + along * np.cos(normals)[:, None]).astype(np.float32),
        (rows[:, None] + along * np.sin(normals)[:, None]).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    own = profile[:, REACH_PX - 1 : REACH_PX + 2].max(axis=1, keepdims=True)
    inner = profile[:, 1:-1]
    peak = (inner > profile[:, :-2]) & (inner >= profile[:, 2:]) & (inner >= LEAST_SHARE * own)
    return peak.sum(axis=1)


def extra_edges(fused, vis, places):
    """Mean number of edges that the fused image has beside a shared one and the visible not."""
    if places[0].size == 0:
        return float("nan")
    return float(np.mean(maxima_along_normals(fused, places) - maxima_along_normals(vis, places)))


def measure(folders, fusions, limit=None):
    """(fusion, case) -> mean over pairs of the metrics and of `extra edges`."""
    scores = {(name, case): [] for name in fusions for case in CASES}
    number = 0
    for folder in folders:
        for _, ir, vis in read_pairs(folder, limit):
            luma = metrics.luminance(vis)
            places = shared_edges(ir, luma)
            for case in CASES:
                seen = displaced(ir, *case, number)
                for name, fuse in fusions.items():
                    fused = fuse(seen, vis)
                    row = metrics.score_pair(fused, ir, vis, METRICS)
                    row["extra edges"] = extra_edges(metrics.luminance(fused), luma, places)
                    scores[name, case].append(row)
            number += 1
    return {
        key: {column: float(np.nanmean([row[column] for row in rows])) for column in rows[0]}
        for key, rows in scores.items()
    }, number


def print_table(result, fusions):
    names = [f"{kind} {value:g} {UNITS[kind]}" for kind, value in CASES]
    for column in (*METRICS, "extra edges"):
        print(f"\n| {column} | " + " | ".join(names) + " |")
        print("|---|" + "---|" * len(CASES))
        for name in fusions:
            cells = [f"{result[name, case][column]:.3f}" for case in CASES]
            print(f"| {name} | " + " | ".join(cells) + " |")


def plot(result, fusions, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = (*METRICS, "extra edges")
    figure, axes = plt.subplots(2, len(columns), figsize=(4 * len(columns), 6.5), squeeze=False)
    for line, kind in enumerate(("shift", "turn")):
        cases = [case for case in CASES if case[0] == kind]
        if kind == "turn":
            cases.insert(0, ("shift", 0))
        for axis, column in zip(axes[line], columns):
            for name in fusions:
                trivial = name in ("maximum", "mean")
                axis.plot(
                    [value for _, value in cases],
                    [result[name, case][column] for case in cases],
                    "--" if trivial else "o-",
                    label=name,
                    alpha=0.6 if trivial else 1.0,
                )
            axis.set_title(column)
            axis.set_xlabel(f"IR {kind}, {UNITS[kind]}")
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def open_model(text, threads):
    """(row name, fuse(ir, vis RGB) -> RGB or grey) of `MODEL[=NAME]`."""
    model, _, name = text.partition("=")
    if Path(model).suffix in (".pth", ".pt", ".ckpt", ".safetensors"):
        return name or Path(model).parent.name, _checkpoint_fuse(model, threads)
    from irvis_fusion_core.fusion import RealtimeFusion

    fusion = RealtimeFusion(model=model, threads=threads)
    return name or Path(model).stem, lambda ir, vis: fusion.fuse_frame(ir, vis, order="rgb")


def _checkpoint_fuse(path, threads):
    import torch

    from irvis_fusion_core.network.pixel_student import PixelStudent
    from training.shipping.student_files import open_student

    torch.set_num_threads(threads)
    student = PixelStudent(open_student(path).eval()).eval()

    def fuse(ir, vis):
        with torch.inference_mode():
            fused = student(
                torch.from_numpy(np.ascontiguousarray(ir))[None, ..., None],
                torch.from_numpy(np.ascontiguousarray(vis))[None],
            )
        return fused[0].numpy()

    return fuse


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--sets", nargs="+", default=["msrs/val", "roadscene/val"])
    parser.add_argument("--model", action="append", default=[], metavar="MODEL[=NAME]")
    parser.add_argument("--limit", type=int, help="pairs of each set (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="image to write (needs matplotlib)")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rules = trivial_rows()
    fusions = {
        name: lambda ir, vis, rule=rules[name]: rule(ir, metrics.luminance(vis))
        for name in ("maximum", "mean")
    }
    fusions.update(open_model(text, options.threads) for text in options.model)
    folders = [options.data / name for name in options.sets]
    result, count = measure(folders, fusions, options.limit)
    print(f"{count} pairs of {', '.join(options.sets)}; references are the registered images")
    print_table(result, fusions)
    if options.plot:
        plot(result, fusions, options.plot)
        print(f"\nwritten {options.plot}")


if __name__ == "__main__":
    main()
