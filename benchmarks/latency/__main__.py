"""Latency of every installed engine, variant and precision, and of a yardstick.

    python3 -m benchmarks.latency --threads 2
    python3 -m benchmarks.latency --sizes 640x480 --backends openvino --precisions fp32,bf16,int8
    python3 -m benchmarks.latency --threads 1 --processor-time --mini-network

A pair of uint8 frames goes in, a uint8 image comes out, as `RealtimeFusion.fuse_frame` does it.
The yardstick (`benchmarks/latency/yardstick.py`: plain convolutions, torch, fp32, the same
threads) takes its turns in the same rounds, so a machine that is busy or throttles does not
change the ratios. On a machine that other work shares, `--processor-time` leaves out the time
spent waiting for a core. What cannot be opened is named with its reason.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.shared.options import machine_facts, make_parser
from irvis_fusion_core import benchmark, model_zoo
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.backends import backend_names
from irvis_fusion_core.command_line import one_of, parse_size, print_table
from irvis_fusion_core.commands import benchmark as command

SIZES = "640x480,640x512,1280x1024"
YARDSTICK = command.Case("yardstick", "torch", "fp32")


def measure(
    fusions: Mapping[command.Case, Any],
    yardstick: Callable[..., object],
    size: tuple[int, int],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[command.Case, benchmark.Timing]:
    """Time all cases and the yardstick at one (height, width)."""
    ir, vis = benchmark.example_pair(*size)
    calls: dict[str, Callable[[], object]] = {" ".join(YARDSTICK): partial(yardstick, ir, vis)}
    for case, fusion in fusions.items():
        fusion.warm_up(*size)
        order = fusion.backend.options.vis_order
        calls[" ".join(case)] = partial(fusion.fuse_frame, ir, vis, order)
    timings = benchmark.time_interleaved(calls, rounds, 2, command.TURN_S, clock)
    return dict(zip((YARDSTICK, *fusions), timings.values()))


def table(timings: Mapping[command.Case, benchmark.Timing]) -> list[list[str]]:
    """Return headings, then for each case its time and how much faster it is."""
    rows = [["engine", "model", "precision", "median ms", "p90 ms", "faster than yardstick"]]
    for case, timing in timings.items():
        ratio = f"{timings[YARDSTICK].median_ms / timing.median_ms:.1f}x"
        engine, model, precision = case
        figures = f"{timing.median_ms:.2f}", f"{timing.p90_ms:.2f}", ratio
        rows.append([engine, Path(model).stem, precision, *figures])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, "threads", threads=2)
    add = parser.add_argument
    parts = f"WIDTHxHEIGHT,... (default: {SIZES})"
    add(
        "--sizes", type=lambda text: [*map(parse_size, text.split(","))], default=SIZES, help=parts
    )
    add("--backends", type=one_of(backend_names(), "engines"))
    add("--models", type=lambda text: text.split(","))
    precisions = command.PRECISIONS
    add("--precisions", type=one_of(precisions, "precisions"), default=precisions)
    add("--rounds", type=int, default=10, help="turns of each (default: 10)")
    add("--gpu-yardstick", action="store_true", help="run the yardstick on CUDA")
    add("--processor-time", action="store_true", help="of all threads together, without waiting")
    add("--mini-network", action="store_true", help="time MMDRFuse's 113 parameters, too")
    add("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    from benchmarks.latency.yardstick import PixelYardstick

    facts = machine_facts(options, "threads")
    yardstick = PixelYardstick(options.threads, "cuda" if options.gpu_yardstick else "cpu")
    backends = options.backends or command.available_backends()
    models = options.models or model_zoo.list_models()
    clock = time.process_time if options.processor_time else time.perf_counter
    sizes: dict[str, dict[str, dict[str, float]]] = {}
    for size in options.sizes:
        # Reasons are told once: they do not depend on the size.
        reasons = io.StringIO() if sizes else sys.stderr
        with ExitStack() as stack:
            files = []
            if options.mini_network:
                from benchmarks.latency.mini_network import write_mini_network

                files = [f"{stack.enter_context(tempfile.TemporaryDirectory())}/mmdrfuse.onnx"]
                write_mini_network(Path(files[0]))
            chosen = backends, [*models, *files], options.precisions, options.threads, None
            fusions = stack.enter_context(command.open_cases(*chosen, reasons))
            timings = measure(fusions, yardstick.fuse, size, options.rounds, clock)
        name = f"{size[1]}x{size[0]}"
        print("\n" + name)
        print_table(table(timings))
        sizes[name] = {" ".join(case): t._asdict() for case, t in timings.items()}
    if options.json:
        write_file(options.json, json.dumps({"machine": facts, "sizes": sizes}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
