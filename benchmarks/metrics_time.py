"""How long the metrics of one pair take on one core, metric by metric and as a table row.

    python benchmarks/metrics_time.py [--size 640x480] [--repeats 5]

The images are drawn (the night street), for the time depends on the size alone.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import os
import time
from collections.abc import Callable, Sequence
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from benchmarks.shared.options import make_parser
from irvis_fusion_core import metrics
from irvis_fusion_core.benchmark import time_interleaved
from irvis_fusion_core.command_line import parse_size, print_table
from irvis_fusion_core.demo.night_street import NightStreet

LIMIT_S = 0.5
"""Limit for a row of one 640x480 pair."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=parse_size, default=(480, 640))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    height, width = options.size
    frames = [NightStreet(width, height).frame(time_s) for time_s in (0.0, 1 / 30)]
    triples = [(np.maximum(f.ir, metrics.luminance(f.vis)), f.ir, f.vis) for f in frames]
    jobs: dict[str, Callable[[], object]] = {
        name: partial(metrics.score_pair, *triples[0], [name])
        for name in metrics.names_for_size(height, width)
    }
    jobs["alignment"] = partial(metrics.alignment, *triples[0])
    jobs["flicker"] = partial(metrics.flicker, *zip(*triples))

    def row() -> None:
        metrics.score_pair(*triples[0])
        jobs["alignment"]()
        jobs["flicker"]()

    calls = {**jobs, "row": row}
    timings = time_interleaved(calls, options.repeats, warm_up=0, clock=time.process_time)
    print_table([["metric", "ms"], *([name, f"{timings[name].median_ms:.1f}"] for name in jobs)])
    taken_s = timings["row"].median_ms / 1e3
    print(f"\nA row for one {width}x{height} pair: {taken_s:.3f} s on one core", end="")
    print(f" (limit for 640x480: {LIMIT_S} s)" if (width, height) == (640, 480) else "")


if __name__ == "__main__":
    main()
