"""Where Qabf is won and lost: edges by the camera that has them, and which of the two is stronger.

Qabf is a mean over all edges of both sources, weighted by their strength. Split by source, and by
which source's edge is the stronger one at that pixel, it says what a fusion gives up:

    python -m benchmarks.edge_budget --data DIR [--sets msrs/val roadscene/val]
        [--model nano small base] [--limit 20] [--rule]

A cell is the share of that kind's edges that is kept, 0..1. Weighted by the shares in the row
`of all edges`, a row's cells add up to its Qabf. SSIM (published convention) shows what edges are
paid with. `--rule` puts edge selection by hand after each fusion (`select_edges`): what a fusion
could still gain by choosing between two images' detail.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from benchmarks.shared.fusions import Fusion, open_fusions, score_fusions
from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.metrics import fidelity
from training.tables import markdown_table

RATIO = 2.0  # how many times stronger; the change is soft, some 10 % to both sides
LEAST = 20.0  # Sobel strength, in the mean around a pixel, from which edges count
AROUND_PX = DETAIL_PX = 4.0  # sigmas of that mean, and of the mean that detail is measured from
KINDS = ("IR, stronger", "IR, weaker", "visible, stronger", "visible, weaker")


def budget(fused: np.ndarray, ir: np.ndarray, vis_y: np.ndarray) -> np.ndarray:
    """Return each kind's share of all edge strength, and the share of Qabf that it brings.

    Takes uint8 HxW luminances; gives 2 x 4 for `KINDS`, whose second row adds up to
    `fidelity.qabf`. Where both edges are equal the IR's is the stronger.
    """
    of_fused, of_ir, of_vis = (fidelity.edges(p.astype(np.float64)) for p in (fused, ir, vis_y))
    ir_leads = of_ir[0] >= of_vis[0]
    total = of_ir[0].sum() + of_vis[0].sum()
    found = []
    for source, leads in ((of_ir, ir_leads), (of_vis, ~ir_leads)):
        kept = fidelity.edge_kept(source, of_fused) * source[0]
        found += [(source[0][where].sum(), kept[where].sum()) for where in (leads, ~leads)]
    return np.array(found).T / max(total, np.finfo(float).tiny)


def select_edges(fused: np.ndarray, ir: np.ndarray, vis_y: np.ndarray) -> np.ndarray:
    """Put one source's detail in place of the fused one's where its edges are much stronger.

    Takes and gives uint8 HxW luminance.
    """
    planes = [p.astype(np.float64) for p in (fused, ir, vis_y)]
    mine, *details = (p - cv2.GaussianBlur(p, (0, 0), DETAIL_PX) for p in planes)
    edges = [cv2.GaussianBlur(fidelity.edges(p)[0], (0, 0), AROUND_PX) for p in planes[1:]]
    strengths = np.log1p(edges)
    chosen = planes[0]
    for detail, own, other in zip(details, strengths, strengths[::-1]):
        much = _soft(own - other - np.log(RATIO)) * _soft(own - np.log(LEAST))
        chosen = chosen + much * (detail - mine)
    return np.rint(chosen).clip(0, 255).astype(np.uint8)


def _soft(logarithm: np.ndarray) -> np.ndarray:
    """Return 0..1 around the logarithm of a ratio of 1: .77 at 1.1, .23 at 1 / 1.1."""
    return 1.0 / (1.0 + np.exp(-12.0 * logarithm))


def selected(fuse: Fusion, pair: Pair) -> np.ndarray:
    """Return luminance: what `fuse` gives, then `select_edges`."""
    return select_edges(metrics.luminance(fuse(pair)), pair.ir, pair.luma)


def score(fused: np.ndarray, pair: Pair) -> list[float]:
    """Return the two rows of `budget`, then Qabf and SSIM."""
    plane = metrics.luminance(fused)
    scores = metrics.score_pair(plane, pair.ir, pair.luma, ("Qabf", "SSIM"))
    return [*budget(plane, pair.ir, pair.luma).ravel().tolist(), *scores.values()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each set."""
    parser = make_parser(__doc__, "data sets model backend threads limit")
    parser.add_argument("--rule", action="store_true", help="rows with edges selected by hand")
    options = parser.parse_args(arguments)
    with open_fusions(options, ["maximum"]) as fusions:
        for name, fuse in list(fusions.items()) if options.rule else ():
            fusions[f"{name}, selected"] = partial(selected, fuse)
        for name in options.sets:
            pairs = read_pairs(options.data, name, options.limit)
            means, _ = score_fusions(pairs, fusions, score)
            shares = next(iter(means.values()))[:4]
            rows: dict[str, Sequence[object]] = {"of all edges": [*shares, "", ""]}
            for fusion, row in means.items():
                rows[fusion] = [*np.divide(row[4:8], np.maximum(shares, 1e-12)), *row[8:]]
            print(markdown_table((*KINDS, "Qabf", "SSIM"), rows, corner=name), end="\n\n")


if __name__ == "__main__":
    main()
