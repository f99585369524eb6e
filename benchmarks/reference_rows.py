"""The rows that every table of fusion results needs: maximum, mean, visible alone, IR alone.

A fusion is worth having only where it does better than these. `--model` adds rows of trained
models, fused by RealtimeFusion exactly as a robot runs them.

    python benchmarks/reference_rows.py --data DIR [--sets msrs/val roadscene/val]
        [--model base small ...] [--backend auto] [--limit 20] [--markdown] [--rescale] [--denoise]
        [--images DIR=NAME ...]

Published tables take thermal images as they are stored. --rescale fuses and scores the thermal
image that the network sees on a robot. --denoise scores against denoised sources (non-local
means), where printed noise earns nothing; it takes about a second a pair.

A set is a folder with IR/ and VIS/ that hold files of the same names. FOLDER@ENDING takes only
names that end so: msrs/val@D is MSRS by day, msrs/val@N by night.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from benchmarks.shared.fusions import has_images, open_fusions, open_images, score_fusions
from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.command_line import print_table
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS
from training.tables import markdown_table


def score(fused: np.ndarray, pair: Pair, denoise: bool = False) -> list[float]:
    """Return every metric of a fused pair, against its sources or denoised ones."""
    sources = pair.ir, pair.luma
    if denoise:
        sources = _denoised(pair.ir), _denoised(pair.luma)
    return list(metrics.score_pair(fused, *sources).values())


def _denoised(plane: np.ndarray) -> np.ndarray:
    """Return uint8 HxW by non-local means, as strong as the noise of the plane (Immerkaer)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    sigma = np.sqrt(np.pi / 2.0) / 6.0 * np.abs(cv2.filter2D(np.float32(plane), -1, kernel)).mean()
    return cv2.fastNlMeansDenoising(plane, None, float(sigma))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "data sets model images backend threads limit")
    parser.add_argument("--markdown", action="store_true", help="tables for a document")
    parser.add_argument("--rescale", action="store_true", help="thermal as the network sees it")
    parser.add_argument("--denoise", action="store_true", help="score against denoised sources")
    options = parser.parse_args(arguments)
    columns = metrics.METRIC_NAMES
    with open_fusions(options, TRIVIAL_FUSIONS) as fusions:
        images = open_images(options)
        for name in options.sets:
            stored = not options.rescale
            found = read_pairs(options.data, name, options.limit, as_stored=stored)
            pairs = (pair for pair in found if has_images(pair, images))
            how = partial(score, denoise=options.denoise)
            rows, count = score_fusions(pairs, {**fusions, **images}, how)
            if options.markdown:
                title = f"**{name}, {count} pairs**"
                print(markdown_table(columns, {title: [""] * len(columns), **rows}))
            else:
                print(f"\n{name}, {count} pairs, clamped, no stretch")
                cells = [[row, *(f"{v:.3f}" for v in values)] for row, values in rows.items()]
                print_table([["", *columns], *cells])


if __name__ == "__main__":
    main()
