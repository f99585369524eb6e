"""Let the node suffer faults at random for minutes; measure memory, threads, files and losses.

    python -m benchmarks.soak --minutes 60 [--seed 1] [--json out/soak.json] [--plot docs/soak.png]
    python -m benchmarks.soak --overload [--seconds 20]

The faults are those of `test/faults`, as far as one running node can suffer them one after
another. Those that change the size of images are left out unless `--sizes` is given: with fixed
sizes the memory of a node may not grow. The node runs with the engine of the tests, the maximum of
both images. After each fault every frame has to be accounted for; before it, a second without
faults gives latencies. A fault that breaks something is written down, and the soak goes on.

`--overload` measures what happens beyond what the machine can do: large images at 60 Hz, 200 Hz,
and participants that come and go. The queues are the node's defaults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.shared.options import machine_facts, make_parser
from benchmarks.soak.overload import overload, run_guests
from benchmarks.soak.random_faults import soak
from benchmarks.soak.samples import draw, report

TEST = Path(__file__).resolve().parents[2] / "test"


def main() -> int:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=60.0)
    add("--seconds", type=float, default=20.0, help="of each overload")
    add("--seed", type=int, default=1)
    add("--sizes", action="store_true", help="with faults that change the size of images")
    add("--overload", action="store_true")
    add("--guests", type=int, help=argparse.SUPPRESS)
    add("--json", type=Path, help="write every sample here")
    add("--plot", type=Path, help="draw the soak here")
    options = parser.parse_args()
    if options.guests is not None:
        run_guests(options.guests)
        return 0
    sys.path[:0] = [str(TEST), str(TEST / "irvis_fusion_ros")]
    machine_facts(options)
    with tempfile.TemporaryDirectory() as folder:
        if options.overload:
            print(overload(options, Path(folder)))
            return 0
        samples = soak(options, Path(folder))
    print(report(samples))
    if options.plot:
        draw(samples, options.plot)
    return int(any(sample.failure for sample in samples))


if __name__ == "__main__":
    sys.exit(main())
