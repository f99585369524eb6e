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
    import shared.as_module  # noqa: F401
from collections.abc import Sequence

from benchmarks.shared.fusions import open_fusions, score_fusions
from benchmarks.shared.options import make_parser
from benchmarks.shared.pairs import read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.command_line import print_table
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS
from training.tables import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each set."""
    parser = make_parser(__doc__, "data sets model backend threads limit")
    parser.add_argument("--markdown", action="store_true", help="tables for a document")
    options = parser.parse_args(arguments)
    columns = metrics.METRIC_NAMES
    with open_fusions(options, TRIVIAL_FUSIONS) as fusions:
        for name in options.sets:
            pairs = read_pairs(options.data, name, options.limit)
            rows, count = score_fusions(
                pairs, fusions, lambda fused, p: [*metrics.score_pair(fused, p.ir, p.vis).values()]
            )
            if options.markdown:
                title = f"**{name}, {count} pairs**"
                print(markdown_table(columns, {title: [""] * len(columns), **rows}))
            else:
                print(f"\n{name}, {count} pairs, clamped, no stretch")
                cells = [[row, *(f"{v:.3f}" for v in values)] for row, values in rows.items()]
                print_table([["", *columns], *cells])


if __name__ == "__main__":
    main()
