"""Latency of every installed engine, variant and precision, and of a yardstick.

    python3 -m benchmarks.latency --threads 2
    python3 -m benchmarks.latency --sizes 640x480 --backends openvino --precisions fp32,bf16,int8

A pair of uint8 frames goes in, a uint8 image comes out, as `RealtimeFusion.fuse_frame` does it.
The yardstick (`benchmarks/yardstick.py`: plain convolutions, torch, fp32, the same threads) takes
its turns in the same rounds, so a machine that is busy or throttles does not change the ratios.
What cannot be opened is named with its reason.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401
import argparse
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.shared.options import make_parser
from irvis_fusion_core import model_zoo
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.backends import backend_names
from irvis_fusion_core.benchmark import Timing, example_pair, machine, time_interleaved
from irvis_fusion_core.command_line import one_of, parse_size, print_table
from irvis_fusion_core.commands.benchmark import (
    PRECISIONS,
    TURN_S,
    Case,
    available_backends,
    open_cases,
)

if TYPE_CHECKING:
    from benchmarks.yardstick import PixelYardstick

SIZES = "640x480,640x512,1280x1024"
YARDSTICK = Case("yardstick", "torch", "fp32")


def measure(
    fusions: Mapping[Case, Any], yardstick: PixelYardstick, size: tuple[int, int], rounds: int
) -> dict[Case, Timing]:
    """Time all cases and the yardstick at one (height, width)."""
    ir, vis = example_pair(*size)
    calls: dict[str, Callable[[], object]] = {" ".join(YARDSTICK): lambda: yardstick.fuse(ir, vis)}
    for case, fusion in fusions.items():
        fusion.warm_up(*size)
        order = fusion.backend.options.vis_order
        calls[" ".join(case)] = partial(fusion.fuse_frame, ir, vis, order)
    timings = time_interleaved(calls, rounds, warm_up=2, turn_s=TURN_S)
    return dict(zip((YARDSTICK, *fusions), timings.values()))


def table(timings: Mapping[Case, Timing]) -> list[list[str]]:
    """Return headings, then for each case its time and how much faster it is."""
    reference_ms = timings[YARDSTICK].median_ms
    rows = [["engine", "model", "precision", "median ms", "p90 ms", "faster than yardstick"]]
    for case, timing in timings.items():
        ratio = f"{reference_ms / timing.median_ms:.1f}x"
        rows.append([*case, f"{timing.median_ms:.2f}", f"{timing.p90_ms:.2f}", ratio])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parse(arguments)
    from benchmarks.yardstick import PixelYardstick

    facts = dict(machine(), threads=str(options.threads))
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    yardstick = PixelYardstick(options.threads, "cuda" if options.gpu_yardstick else "cpu")
    sizes: dict[str, dict[str, dict[str, float]]] = {}
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
        name = f"{size[1]}x{size[0]}"
        print("\n" + name)
        print_table(table(timings))
        sizes[name] = {" ".join(case): t._asdict() for case, t in timings.items()}
    if options.json:
        write_file(options.json, json.dumps({"machine": facts, "sizes": sizes}, indent=2))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "threads", threads=2)
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
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
