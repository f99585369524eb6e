"""The rows that every table of fusion results needs: maximum, mean, visible alone, IR alone.

A fusion is worth having only where it does better than these. `--model` adds rows of trained
models, fused by RealtimeFusion exactly as a robot runs them.

    python benchmarks/reference_rows.py --data DIR [--sets msrs/val roadscene/val]
        [--model base small ...] [--backend auto] [--limit 20] [--markdown]

A set is a folder with IR/ and VIS/ that hold files of the same names. FOLDER@ENDING takes only
names that end so: msrs/val@D is MSRS by day, msrs/val@N by night.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from benchmarks.shared.fusions import Fusion, open_models, trivial_fusions
from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from benchmarks.shared.tables import markdown_table
from irvis_fusion_core import metrics


def mean_scores(
    pairs: Iterable[Pair], fusions: Mapping[str, Fusion]
) -> tuple[dict[str, dict[str, float]], int]:
    """Return fusion name -> mean of every metric over the pairs, and the number of pairs."""
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in fusions}
    for pair in pairs:
        for name, fuse in fusions.items():
            scores[name].append(metrics.score_pair(fuse(pair), pair.ir, pair.vis))
    means = {
        name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for name, rows in scores.items()
    }
    return means, len(next(iter(scores.values())))


def print_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print the rows for a terminal."""
    width = max(len(name) for name in rows)
    print(f"\n{title}")
    print(" " * width + "".join(f"{name:>9}" for name in metrics.METRIC_NAMES))
    for name, row in rows.items():
        print(f"{name:{width}}" + "".join(f"{row[key]:9.3f}" for key in metrics.METRIC_NAMES))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each set."""
    parser = make_parser(__doc__, "data sets model backend threads limit")
    parser.add_argument("--markdown", action="store_true", help="tables for a document")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        models = open_models(stack, options.model, options.backend, options.threads)
        fusions = {**trivial_fusions(), **models}
        for name in options.sets:
            rows, count = mean_scores(read_pairs(options.data, name, options.limit), fusions)
            if not options.markdown:
                print_table(f"{name}, {count} pairs, clamped, no stretch", rows)
                continue
            values: dict[str, Sequence[object]] = {
                row: list(scores.values()) for row, scores in rows.items()
            }
            empty = {f"**{name}, {count} pairs**": [""] * len(metrics.METRIC_NAMES)}
            print(markdown_table(metrics.METRIC_NAMES, {**empty, **values}))


if __name__ == "__main__":
    main()
