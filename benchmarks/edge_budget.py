"""Where Qabf is won and lost: edges by the camera that has them, and which of the two is stronger.

Qabf is a mean over all edges of both sources, weighted by their strength. Split by source, and by
which source's edge is the stronger one at that pixel, it says what a fusion gives up:

    python -m benchmarks.edge_budget --data DIR [--sets msrs/val roadscene/val]
        [--model nano small base] [--limit 20] [--rule]

A cell is the share of that kind's edges that is kept, 0..1; weighted by the shares in the row
`of all edges` a row's cells add up to its Qabf. SSIM is the published convention, beside it
because it is what edges are paid with. `--rule` puts edge selection by hand after each fusion
(`select_edges`): what a fusion could still gain by choosing between two images' detail.
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, List, Optional

import cv2
import numpy as np

from benchmarks.reference_rows import make_parser, open_models, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.metrics import fidelity

KINDS = ("IR, stronger", "IR, weaker", "visible, stronger", "visible, weaker")

Fuse = Callable[[np.ndarray, np.ndarray], np.ndarray]


def budget(fused: np.ndarray, ir: np.ndarray, vis_y: np.ndarray) -> np.ndarray:
    """2 x 4: share of all edge strength that each of `KINDS` has, and share of Qabf it brings.

    The second row adds up to `fidelity.qabf`. Where both edges are equal the IR's is the stronger.

    :param fused, ir, vis_y: uint8 H x W luminance.
    """
    of_fused, of_ir, of_vis = (fidelity.edges(p.astype(np.float64)) for p in (fused, ir, vis_y))
    ir_leads = of_ir[0] >= of_vis[0]
    total = of_ir[0].sum() + of_vis[0].sum()
    found = []
    for source, leads in ((of_ir, ir_leads), (of_vis, ~ir_leads)):
        kept = fidelity.edge_kept(source, of_fused) * source[0]
        found += [(source[0][where].sum(), kept[where].sum()) for where in (leads, ~leads)]
    return np.array(found).T / max(total, np.finfo(float).tiny)


def select_edges(
    fused: np.ndarray,
    ir: np.ndarray,
    vis_y: np.ndarray,
    ratio: float = 2.0,
    least: float = 20.0,
    around_px: float = 4.0,
    detail_px: float = 4.0,
) -> np.ndarray:
    """Put one source's detail in place of the fused one's where its edges are much the stronger.

    :param fused, ir, vis_y: uint8 H x W luminance.
    :param ratio: how many times stronger; the change is soft, some 10 % to both sides.
    :param least: Sobel strength, in the mean about a pixel, from which edges count.
    :param around_px, detail_px: sigma of that mean, and of the mean that detail is measured from.
    :return: uint8 H x W.
    """

    def blurred(plane: np.ndarray, sigma: float) -> np.ndarray:
        return cv2.GaussianBlur(plane, (0, 0), sigma)

    planes = [p.astype(np.float64) for p in (fused, ir, vis_y)]
    mine, *details = (p - blurred(p, detail_px) for p in planes)
    strengths = [np.log1p(blurred(fidelity.edges(p)[0], around_px)) for p in planes[1:]]
    chosen = planes[0]
    for detail, own, other in zip(details, strengths, strengths[::-1]):
        much = _soft(own - other - np.log(ratio)) * _soft(own - np.log(least))
        chosen = chosen + much * (detail - mine)
    return np.rint(chosen).clip(0, 255).astype(np.uint8)


def _soft(logarithm: np.ndarray) -> np.ndarray:
    """0..1 about the logarithm of a ratio of 1: .77 at 1.1, .23 at 1 / 1.1."""
    return 1.0 / (1.0 + np.exp(-12.0 * logarithm))


def rows_of(
    folder: Path, fusions: Dict[str, Fuse], limit: Optional[int] = None, ending: str = ""
) -> Dict[str, np.ndarray]:
    """Fusion name -> 4 kept shares, Qabf and SSIM, means over the pairs; and `of all edges`."""
    found: Dict[str, List[np.ndarray]] = {name: [] for name in fusions}
    for _, ir, vis in read_pairs(folder, limit, ending):
        y = metrics.luminance(vis)
        for name, fuse in fusions.items():
            fused = metrics.luminance(fuse(ir, vis))
            share, kept = budget(fused, ir, y)
            scores = metrics.score_pair(fused, ir, y, ("Qabf", "SSIM"))
            found[name].append(np.concatenate([share, kept, list(scores.values())]))
    means = {name: np.mean(each, 0) for name, each in found.items()}
    shares = next(iter(means.values()))[:4]
    table = {"of all edges": np.concatenate([shares, [np.nan, np.nan]])}
    for name, row in means.items():
        table[name] = np.concatenate([row[4:8] / np.maximum(shares, 1e-12), row[8:]])
    return table


def with_rule(fuse: Fuse) -> Fuse:
    """The luminance of a fusion after `select_edges`."""

    def selected(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        return select_edges(metrics.luminance(fuse(ir, vis)), ir, metrics.luminance(vis))

    return selected


def markdown(title: str, table: Dict[str, np.ndarray]) -> str:
    """The table for a document, three digits; an empty cell where there is no figure."""
    lines = [f"| {title} | " + " | ".join((*KINDS, "Qabf", "SSIM")) + " |", "|---" * 7 + "|"]
    for name, row in table.items():
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in row]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--rule", action="store_true", help="rows with edges selected by hand")
    options = parser.parse_args(arguments)

    fusions: Dict[str, Fuse] = {"maximum": lambda ir, vis: np.maximum(ir, metrics.luminance(vis))}
    with ExitStack() as stack:
        fusions.update(open_models(stack, options.model, options.backend))
        if options.rule:
            fusions.update({f"{k}, selected": with_rule(v) for k, v in list(fusions.items())})
        for name in options.sets:
            folder, _, ending = name.partition("@")
            print(markdown(name, rows_of(options.data / folder, fusions, options.limit, ending)))
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
