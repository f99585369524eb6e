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

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from benchmarks.shared.fusions import Fusion, open_models, trivial_fusions
from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from benchmarks.shared.tables import markdown_table
from irvis_fusion_core import metrics

Case = tuple[str, float]
Places = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and normals (radians) of edge pixels."""

METRICS = ("Qabf", "VIF", "SSIM")
COLUMNS = (*METRICS, "extra edges")
TRIVIAL = ("maximum", "mean")
CASES: tuple[Case, ...] = tuple(("shift", value) for value in (0, 2, 4, 8)) + tuple(
    ("turn", value) for value in (0.5, 1.0, 2.0)
)
UNITS = {"shift": "px", "turn": "deg"}
REACH_PX = 12
LEAST_SHARE = 0.3
# Edges are shared where both cameras have one of like direction within this distance.
SHARED_PX = 2.0


def displaced(ir: np.ndarray, kind: str, value: float, number: int) -> np.ndarray:
    """Return the IR image of pair `number`, shifted or turned; its border is repeated outwards."""
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


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and direction of a grey image's gradient at about 1 px."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.hypot(gx, gy), np.arctan2(gy, gx)


def edges(image: np.ndarray) -> np.ndarray:
    """Return where Canny finds edges, bool HxW."""
    magnitude, _ = gradient(image)
    high = float(np.percentile(magnitude, 92))
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    return cv2.Canny(smooth, 0.5 * high, max(high, 20.0), L2gradient=True) > 0


def shared_edges(ir: np.ndarray, vis: np.ndarray) -> Places:
    """Return the thin visible edges that IR has too."""
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


def maxima_along_normals(image: np.ndarray, places: Places) -> np.ndarray:
    """Return the number of maxima that the gradient has along each place's normal, N."""
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


def extra_edges(fused: np.ndarray, vis: np.ndarray, places: Places) -> float:
    """Return the mean number of edges near a shared one that only the fused image has."""
    if places[0].size == 0:
        return float("nan")
    return float(np.mean(maxima_along_normals(fused, places) - maxima_along_normals(vis, places)))


def measure(
    pairs: Iterable[Pair], fusions: Mapping[str, Fusion]
) -> tuple[dict[tuple[str, Case], dict[str, float]], int]:
    """Return (fusion, case) -> mean over pairs of `COLUMNS`, and the number of pairs."""
    scores: dict[tuple[str, Case], list[dict[str, float]]] = {}
    count = 0
    for count, pair in enumerate(pairs, 1):
        places = shared_edges(pair.ir, pair.luma)
        for case in CASES:
            seen = pair._replace(ir=displaced(pair.ir, *case, count - 1))
            for name, fuse in fusions.items():
                fused = fuse(seen)
                row = metrics.score_pair(fused, pair.ir, pair.vis, METRICS)
                row["extra edges"] = extra_edges(metrics.luminance(fused), pair.luma, places)
                scores.setdefault((name, case), []).append(row)
    means = {
        key: {column: float(np.nanmean([row[column] for row in rows])) for column in COLUMNS}
        for key, rows in scores.items()
    }
    return means, count


def plot(
    result: Mapping[tuple[str, Case], Mapping[str, float]], fusions: Sequence[str], path: Path
) -> None:
    """Write a plot of each column over shifts and turns."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(COLUMNS), figsize=(4 * len(COLUMNS), 6.5), squeeze=False)
    for line, kind in enumerate(("shift", "turn")):
        cases = [case for case in CASES if case[0] == kind]
        if kind == "turn":
            cases.insert(0, ("shift", 0))
        for axis, column in zip(axes[line], COLUMNS):
            for name in fusions:
                trivial = name in TRIVIAL
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the plot with `--plot`."""
    parser = make_parser(__doc__, "data sets backend threads limit", threads=1)
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        default=[],
        metavar="MODEL[=NAME]",
        help="to compare",
    )
    parser.add_argument("--plot", type=Path, help="image to write (needs matplotlib)")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    with ExitStack() as stack:
        models = open_models(stack, options.model, options.backend, options.threads)
        fusions = {**trivial_fusions(TRIVIAL), **models}
        pairs = [read_pairs(options.data, name, options.limit) for name in options.sets]
        result, count = measure(chain(*pairs), fusions)
    print(f"{count} pairs of {', '.join(options.sets)}; references are the registered images")
    names = [f"{kind} {value:g} {UNITS[kind]}" for kind, value in CASES]
    for column in COLUMNS:
        rows = {name: [result[name, case][column] for case in CASES] for name in fusions}
        print("\n" + markdown_table(names, rows, corner=column))
    if options.plot:
        plot(result, list(fusions), options.plot)
        print(f"\nwritten {options.plot}")


if __name__ == "__main__":
    main()
