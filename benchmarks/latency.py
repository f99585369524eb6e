"""Latency of every engine, variant and precision that is here, beside a yardstick.

    python3 -m benchmarks.latency --threads 2
    python3 -m benchmarks.latency --sizes 640x480 --backends openvino --precisions fp32,bf16,int8

A pair of uint8 frames goes in, a uint8 image comes out, as `RealtimeFusion.fuse_frame` does it.
The yardstick (`benchmarks/yardstick.py`: plain convolutions, torch, fp32, the same threads) takes
its turns in the same rounds, so a machine that is busy or throttles does not change the ratios.
What cannot be opened is named with its reason: nothing is left out in silence.
"""

import argparse
import io
import json
import sys
from typing import Any, Callable, Dict, List

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends import backend_names
from irvis_fusion_core.benchmark import Timing, example_pair, machine, time_interleaved
from irvis_fusion_core.command_line import one_of, parse_size, print_table
from irvis_fusion_core.commands.benchmark import (
    PRECISIONS,
    TURN_S,
    available_backends,
    open_cases,
)

SIZES = "640x480,640x512,1280x1024"
YARDSTICK = ("yardstick", "torch", "fp32")


def measure(fusions: Dict[Any, Any], yardstick: Any, size: Any, rounds: int) -> Dict[Any, Timing]:
    """Time all cases and the yardstick at one (height, width)."""
    ir, vis = example_pair(*size)
    calls: Dict[Any, Callable[[], Any]] = {YARDSTICK: lambda: yardstick.fuse(ir, vis)}
    for case, fusion in fusions.items():
        fusion.warm_up(*size)
        order = fusion.backend.options.vis_order
        # Bound now: the loop's variables will have moved on when this is called.
        calls[case] = lambda fusion=fusion, order=order: fusion.fuse_frame(ir, vis, order)
    return time_interleaved(calls, rounds, warm_up=2, turn_s=TURN_S)


def table(timings: Dict[Any, Timing]) -> List[List[str]]:
    """Rows with headings: each case, its time, and how many times faster than the yardstick."""
    reference_ms = timings[YARDSTICK].median_ms
    rows = [["engine", "model", "precision", "median ms", "p90 ms", "faster than yardstick"]]
    for case, timing in timings.items():
        ratio = "%.1fx" % (reference_ms / timing.median_ms)
        rows.append([*case, "%.2f" % timing.median_ms, "%.2f" % timing.p90_ms, ratio])
    return rows


def main() -> int:
    """Run the benchmark."""
    options = _parse()
    from benchmarks.yardstick import PixelYardstick

    facts = dict(machine(), threads=str(options.threads))
    print(", ".join("%s: %s" % item for item in facts.items()))
    yardstick = PixelYardstick(options.threads, "cuda" if options.gpu_yardstick else "cpu")
    report: Dict[str, Any] = {"machine": facts, "sizes": {}}
    for size in options.sizes:
        fusions = open_cases(
            options.backends or available_backends(),
            options.models or model_zoo.list_models(),
            options.precisions,
            options.threads,
            None,
            # Once is enough: the reasons do not depend on the size.
            sys.stderr if size == options.sizes[0] else io.StringIO(),
        )
        try:
            timings = measure(fusions, yardstick, size, options.rounds)
        finally:
            for fusion in fusions.values():
                fusion.close()
        name = "%dx%d" % (size[1], size[0])
        print("\n" + name)
        print_table(table(timings))
        report["sizes"][name] = {" ".join(case): t._asdict() for case, t in timings.items()}
    if options.json:
        with open(options.json, "w") as stream:
            json.dump(report, stream, indent=2)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of all (default: 2)")
    parser.add_argument(
        "--sizes",
        type=lambda text: [parse_size(part) for part in text.split(",")],
        default=[parse_size(part) for part in SIZES.split(",")],
        help=f"WIDTHxHEIGHT, separated by commas (default: {SIZES})",
    )
    parser.add_argument("--backends", type=one_of(backend_names(), "engines"))
    parser.add_argument("--models", type=lambda text: text.split(","))
    parser.add_argument("--precisions", type=one_of(PRECISIONS, "precisions"), default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (default: 10)")
    parser.add_argument("--gpu-yardstick", action="store_true", help="run the yardstick on CUDA")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
