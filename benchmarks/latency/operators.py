"""Where OpenVINO spends a frame: operators by kind, in turns for each precision of a model.

    python3 -m benchmarks.latency.operators --model nano --precisions fp32,int8

One thread; of each operator the 10th percentile over the rounds, which leaves out most of what
other work on the machine adds. Shares are of the sum of the first precision.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.shared.options import machine_facts, make_parser
from irvis_fusion_core import model_zoo
from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.command_line import print_table
from irvis_fusion_core.optional_packages import openvino_core

Kinds = dict[str, dict[str, float]]  # kind of operator -> its name -> milliseconds


def profile(paths: Sequence[str], rounds: int) -> list[Kinds]:
    """Return the operators that run for a frame of 640x480, of each model."""
    frames = [frame[np.newaxis] for frame in example_pair(480, 640)]
    inputs = dict(zip(("ir", "vis"), frames))
    core, requests = openvino_core(), []
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    for path in paths:
        network = core.read_model(path)
        network.reshape({name: list(frame.shape) for name, frame in inputs.items()})
        requests.append(core.compile_model(network, "CPU", settings).create_infer_request())
    taken: list[dict[tuple[str, str], list[float]]] = [defaultdict(list) for _ in paths]
    for _ in range(rounds):
        for request, times in zip(requests, taken):
            request.infer(inputs)  # finds the caches as the other model left them
            request.infer(inputs)
            for each in request.profiling_info:
                if each.status == each.Status.EXECUTED:
                    operator = each.node_type, each.node_name
                    times[operator].append(each.real_time.total_seconds() * 1e3)
    found: list[Kinds] = [defaultdict(dict) for _ in paths]
    for kinds, times in zip(found, taken):
        for (kind, name), durations in times.items():
            kinds[kind][name] = float(np.percentile(durations, 10))
    return found


def table(found: Sequence[Kinds]) -> list[list[str]]:
    """Return headings, a row for each kind of operator, and the sums."""
    whole = sum(sum(named.values()) for named in found[0].values())

    def cells(named: Sequence[dict[str, float]]) -> list[str]:
        return [f"{len(each)}: {sum(each.values()) / whole:.3f}" for each in named]

    kinds = {kind: [each.get(kind, {}) for each in found] for model in found for kind in model}
    ordered = sorted(kinds.items(), key=lambda item: -sum(item[1][0].values()))
    rows = [[kind, *cells(named)] for kind, named in ordered]
    sums = [
        {f"{k} {n}": t for k, named in each.items() for n, t in named.items()} for each in found
    ]
    return [["operators", *(f"number: share {i + 1}" for i in range(len(found)))], *rows] + [
        ["sum", *cells(sums)]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["fp32"])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    machine_facts(options, "model", "precisions")
    paths = [str(model_zoo.path(options.model, each)) for each in options.precisions]
    print_table(table(profile(paths, options.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
