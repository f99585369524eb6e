"""How does fusion stand a misaligned infrared image? Quality and doubled edges, table and plot.

    python -m benchmarks.robustness --model nano --model small [--model runs/a/best.pth=with]
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

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product
from pathlib import Path

import cv2
import numpy as np

from benchmarks.learned_registration.methods import Learned, Method, warped
from benchmarks.online_alignment import drift_matrix
from benchmarks.robustness.doubled_edges import extra_edges, shared_edges
from benchmarks.shared.fusions import Fusion, mean_rows, open_fusions
from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from irvis_fusion_core import metrics
from training.tables import markdown_table

Case = tuple[str, float]

METRICS = ("Qabf", "VIF", "SSIM")
COLUMNS = (*METRICS, "extra edges")
TRIVIAL = ("maximum", "mean")
REGISTERED = "learned registration, "
CASES: tuple[Case, ...] = (
    *(("shift", value) for value in (0, 2, 4, 8)),
    *(("turn", value) for value in (0.5, 1.0, 2.0)),
)
UNITS = {"shift": "px", "turn": "deg"}


def displaced(ir: np.ndarray, kind: str, value: float, number: int) -> np.ndarray:
    """Return the IR image of pair `number`, shifted or turned; its border is repeated outwards."""
    if value == 0:
        return ir
    angle = 2 * np.pi * (number * 0.381966)  # the golden angle: directions spread evenly
    if kind == "shift":
        matrix = drift_matrix(ir.shape, (value * np.cos(angle), value * np.sin(angle)))
    else:
        matrix = drift_matrix(ir.shape, turn_deg=value if number % 2 else -value)
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    return cv2.warpAffine(ir, matrix[:2], ir.shape[::-1], flags=flags, borderMode=border)


def measure(
    pairs: Iterable[Pair], fusions: Mapping[str, Fusion], learned: Method | None = None
) -> tuple[dict[tuple[str, Case], dict[str, float]], int]:
    """Return (fusion, case) -> mean over pairs of `COLUMNS`, and the number of pairs.

    With `learned` there is `REGISTERED` + fusion as well.
    """
    rows: dict[tuple[str, Case], list[Sequence[float]]] = {}
    count = 0
    for count, pair in enumerate(pairs, 1):
        places = shared_edges(pair.ir, pair.luma)
        for case in CASES:
            seen = pair._replace(ir=displaced(pair.ir, *case, count - 1))
            inputs = {"": seen}
            if learned is not None:
                put_back = warped(seen.ir, learned(seen.ir, seen.luma))
                inputs[REGISTERED] = seen._replace(ir=put_back)
            for (name, fuse), (how, given) in product(fusions.items(), inputs.items()):
                fused = fuse(given)
                scores = metrics.score_pair(fused, pair.ir, pair.vis, METRICS)
                extra = extra_edges(metrics.luminance(fused), pair.luma, places)
                rows.setdefault((how + name, case), []).append([*scores.values(), extra])
    return {key: dict(zip(COLUMNS, row)) for key, row in mean_rows(rows).items()}, count


def plot(
    result: Mapping[tuple[str, Case], Mapping[str, float]], fusions: Sequence[str], path: Path
) -> None:
    """Write a plot of each column over shifts and turns."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plain = dict.fromkeys(name.removeprefix(REGISTERED) for name in fusions)
    colours = {name: f"C{number}" for number, name in enumerate(plain)}
    figure, axes = plt.subplots(2, len(COLUMNS), figsize=(4 * len(COLUMNS), 6.5), squeeze=False)
    for line, kind in enumerate(UNITS):
        cases = [case for case in CASES if case[0] == kind or not case[1]]
        for axis, column in zip(axes[line], COLUMNS):
            for name in fusions:
                values = [result[name, case][column] for case in cases]
                style = ":" if name.startswith(REGISTERED) else "-"
                colour = colours[name.removeprefix(REGISTERED)]
                axis.plot([value for _, value in cases], values, style, color=colour, label=name)
            axis.set_title(column)
            axis.set_xlabel(f"IR {kind}, {UNITS[kind]}")
            axis.grid(alpha=0.3)
    figure.tight_layout(rect=(0.0, 0.1, 1.0, 1.0))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=5, fontsize=8)
    figure.savefig(path, dpi=80)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the plot with `--plot`."""
    parser = make_parser(__doc__, "data sets backend threads limit", threads=1)
    add = parser.add_argument
    add("--model", nargs="+", action="extend", default=[], metavar="MODEL[=NAME]")
    add("--plot", type=Path, help="image to write (needs matplotlib)")
    add("--learned", action="store_true", help="also after the learned registration")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    learned = Learned(threads=options.threads) if options.learned else None
    with open_fusions(options, TRIVIAL) as fusions:
        pairs = [read_pairs(options.data, name, options.limit) for name in options.sets]
        result, count = measure(chain(*pairs), fusions, learned)
    fused_by = list(dict.fromkeys(name for name, _ in result))
    print(f"{count} pairs of {', '.join(options.sets)}; references are the registered images")
    names = [f"{kind} {value:g} {UNITS[kind]}" for kind, value in CASES]
    for column in COLUMNS:
        rows = {name: [result[name, case][column] for case in CASES] for name in fused_by}
        print("\n" + markdown_table(names, rows, corner=column))
    if options.plot:
        plot(result, fused_by, options.plot)
        print(f"\nwritten {options.plot}")


if __name__ == "__main__":
    main()
