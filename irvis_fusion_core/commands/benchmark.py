"""Measure latency and throughput of the installed engines.

examples::

  irvis_fusion benchmark
  irvis_fusion benchmark --sizes 640x480,1280x1024 --models nano,small --threads 2
  irvis_fusion benchmark --backends openvino --precisions fp32,bf16,int8 --stages
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends import backend_names, probe_backends
from irvis_fusion_core.benchmark import example_pair, machine, stage_calls, time_interleaved
from irvis_fusion_core.command_line import command, make_parser, one_of, parse_size, print_table
from irvis_fusion_core.errors import ConfigurationError, FusionError

# Long enough for caches to be as in a stream of frames.
TURN_S = 0.05
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


class Case(NamedTuple):
    """One combination to measure."""

    backend: str
    model: str
    precision: str


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "benchmark")
    add = parser.add_argument
    engines, precisions = one_of(backend_names(), "engines"), one_of(PRECISIONS, "precisions")
    add("--backends", type=engines, help="separated by commas (default: all that are here)")
    files = "variants or .onnx files (default: all)"
    add("--models", type=lambda text: text.split(","), help=files)
    names = f"{', '.join(PRECISIONS)} (default: fp32)"
    add("--precisions", type=precisions, default=["fp32"], help=names)
    add(
        "--sizes",
        type=lambda text: [parse_size(part) for part in text.split(",")],
        default=[(480, 640)],
        help="frame sizes, WIDTHxHEIGHT, separated by commas (default: 640x480)",
    )
    add("--threads", type=int, default=0, help="CPU threads (default: engine's)")
    add("--device", help="cpu, cuda, ... (default: the best there is)")
    add("--rounds", type=int, default=30, help="rounds (default: 30)")
    add("--stages", action="store_true", help="each stage of a frame apart")
    options = parser.parse_args(arguments)
    backends = options.backends or available_backends()
    models = options.models or model_zoo.list_models()
    print(", ".join("%s: %s" % item for item in machine().items()))
    measured = 0
    for height, width in options.sizes:
        wanted = backends, models, options.precisions, options.threads, options.device
        with open_cases(*wanted, sys.stderr) as fusions:
            measured += len(fusions)
            print(
                "\n%dx%d, uint8 to uint8, %s threads, median of interleaved rounds"
                % (width, height, options.threads or "the engine's own number of")
            )
            print_table(measure(fusions, height, width, options.rounds, options.stages))
    if not measured:
        raise ConfigurationError(
            "expected an engine, model and precision that go together, found none; see above"
        )
    return 0


def available_backends() -> list[str]:
    """Return the engines that can run here; numpy, which is there always, where none can."""
    names = [found.name for found in probe_backends() if found.available]
    return [name for name in names if name != "numpy"] or names


@contextlib.contextmanager
def open_cases(
    backends: list[str],
    models: list[str],
    precisions: list[str],
    threads: int,
    device: Any,
    log: Any,
) -> Iterator[dict[Case, Any]]:
    """Open every combination that exists; write to `log` why others do not."""
    from irvis_fusion_core.fusion import RealtimeFusion

    fusions: dict[Case, Any] = {}
    shared = {"threads": threads, "device": device, "thermal": None}
    with contextlib.ExitStack() as stack:
        for model, backend, precision in itertools.product(models, backends, precisions):
            try:
                fusion = RealtimeFusion(model, backend, precision=precision, **shared)
            except FusionError as error:
                print(f"not measured: {backend} {model} {precision}: {error}", file=log)
                continue
            stack.enter_context(fusion)
            fusions[Case(backend, model, _arithmetic(fusion, precision))] = fusion
        yield fusions


def measure(
    fusions: dict[Case, Any], height: int, width: int, rounds: int, stages: bool
) -> list[list[str]]:
    """Time all cases at one size, interleaved; return a table with headings."""
    ir, vis = example_pair(height, width)
    calls = {}
    for case, fusion in fusions.items():
        fusion.warm_up(height, width)
        parts = stage_calls(fusion, ir, vis)
        for stage in parts if stages else ("fuse_frame",):
            calls[case, stage] = parts[stage]
    rows = [["engine", "model", "precision", "stage", "median ms", "p90 ms", "p99 ms", "per s"]]
    if calls:
        for (case, stage), timing in time_interleaved(calls, rounds, turn_s=TURN_S).items():  # type: ignore
            figures = (timing.median_ms, timing.p90_ms, timing.p99_ms)
            rows.append([*case, stage, *("%.2f" % ms for ms in figures), "%.1f" % timing.rate_hz])
    return rows


def _arithmetic(fusion: Any, precision: str) -> str:
    """Return the name of the precision: an fp16 file may be calculated in fp32."""
    used = fusion.describe().get("inference_precision", precision)
    return precision if precision != "fp16" or used == "fp16" else f"fp16 run as {used}"


if __name__ == "__main__":
    sys.exit(main())
