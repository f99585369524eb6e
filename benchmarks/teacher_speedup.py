"""How many times faster is a student than a teacher?

    python3 -m benchmarks.teacher_speedup --threads 1
    python3 -m benchmarks.teacher_speedup --device cuda --teacher mask_difuser
    python3 -m benchmarks.teacher_speedup --teacher optimised --teacher conditional --detector FILE

DDFM and Mask-DiFuser in their published configuration, the conditional teacher's small network, at
640x480 and in fp32, on the same device and the same threads as the student, in one run. Weights
are random: time does not depend on them. One step is timed and multiplied by the number of steps
(DDFM 100, Mask-DiFuser 5, the others their defaults; the optimised teacher starts from the
pixel-wise maximum); what is computed once an image is timed apart and counted once. The student is
timed before and after each teacher, so that a machine that gets busier or hotter does not change
the ratio. On a CPU the ratio is of processor time, which other processes do not change.

Needs about 8 GB of memory for DDFM.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from benchmarks.shared.options import machine_facts, make_parser
from irvis_fusion_core import RealtimeFusion
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.command_line import parse_size, print_table
from training.losses.frozen_detector import FrozenDetector
from training.options import default_weights
from training.teachers import conditional, ddfm, optimised
from training.teachers.mask_difuser import teacher as mask_difuser
from training.teachers.prior_files import TEACHERS, create_network

STEPS = {
    "ddfm": ddfm.PUBLISHED_STEPS,
    "mask_difuser": mask_difuser.PUBLISHED_STEPS,
    "conditional": conditional.DEFAULT_STEPS,
    "optimised": optimised.DEFAULT_STEPS,
}


class Cost(NamedTuple):
    """Seconds on the clock, and seconds of processor time of this process."""

    wall_s: float
    cpu_s: float


def cost(call: Callable[[], object], device: str, times: int = 1) -> Cost:
    """Return the median cost of a call."""
    rows = []
    for _ in range(times):
        before = time.perf_counter(), time.process_time()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        rows.append((time.perf_counter() - before[0], time.process_time() - before[1]))
    return Cost(*(statistics.median(column) for column in zip(*rows)))


def image_cost(step: Cost, once: Cost, steps: int) -> Cost:
    """Return the cost of an image; `step` is that of a call that did `once` and one step."""
    return Cost(*(o + steps * (s - o) for s, o in zip(step, once)))


def optimised_cost(
    pair: Sequence[torch.Tensor], device: str, detectors: Sequence[FrozenDetector]
) -> Cost:
    """Return what one image costs the teacher that optimises pixels."""
    weights = default_weights(bool(detectors))
    weights = {name: w for name, w in weights.items() if name not in optimised.SCORES}
    counts = (1, 5)  # of steps: their difference is that of four
    models = [optimised.Optimised(weights, detectors, steps=steps) for steps in counts]
    models[0].fuse(*pair, [0])
    few, more = (cost(partial(model.fuse, *pair, [0]), device) for model in models)
    left = (STEPS["optimised"] - counts[0]) / (counts[1] - counts[0])
    return Cost(*(a + left * (b - a) for a, b in zip(few, more)))


def teacher_cost(teacher: str, size: str, pair: Sequence[torch.Tensor], device: str) -> Cost:
    """Return what one image costs a diffusion teacher of fresh weights."""
    torch.manual_seed(0)
    network = create_network(teacher, "small" if teacher == "conditional" else size)
    network = network.to(device).eval()
    ir, vis = (x.to(device) for x in pair)
    once = Cost(0.0, 0.0)
    if teacher == "ddfm":
        model: Any = ddfm.DDFM(network, 1)
    elif teacher == "conditional":
        model = conditional.Conditional(network, 1)
    else:
        model = mask_difuser.MaskDiFuser(network, 1)
        channels = network.config.in_channels
        a, b = (x.mean(1, keepdim=True).expand(-1, channels, -1, -1) for x in (ir, vis))
        with torch.no_grad():
            once = cost(lambda: network.condition(a, b), device)
    if device != "cpu":
        model.fuse(ir, vis, [0])  # kernels are loaded at the first call
    return image_cost(cost(lambda: model.fuse(ir, vis, [0]), device), once, STEPS[teacher])


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row for each teacher and engine of the student."""
    height, width = options.size
    ir, vis = example_pair(height, width)
    pair = [torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255.0 for x in (ir, vis)]
    how = {"device": options.device, "threads": options.threads}
    engines = {name: RealtimeFusion(options.model, name, **how) for name in options.backends}
    for fusion in engines.values():
        fusion.warm_up(height, width)

    def students() -> dict[str, Cost]:
        calls = {name: partial(fusion.fuse_frame, ir, vis) for name, fusion in engines.items()}
        return {name: cost(call, options.device, 20) for name, call in calls.items()}

    detectors = [FrozenDetector(path) for path in options.detector]
    found = []
    which = 1 if options.device == "cpu" else 0
    for teacher in options.teacher:
        before = students()
        if teacher == "optimised":
            seen = [x.to(options.device) for x in pair]
            its = optimised_cost(seen, options.device, detectors)
        else:
            its = teacher_cost(teacher, options.teacher_size, pair, options.device)
        gc.collect()
        after = students()
        for name in engines:
            # The slower of both turns: the ratio is never flattered.
            ours = Cost(*map(max, before[name], after[name]))
            row: dict[str, Any] = {"teacher": teacher, "steps": STEPS[teacher]}
            row.update(teacher_wall_s=its.wall_s, teacher_cpu_s=its.cpu_s)
            row.update(student=f"{options.model} ({name})", student_wall_s=ours.wall_s)
            row.update(student_cpu_s=ours.cpu_s, times_faster=its[which] / ours[which])
            found.append(row)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, "threads", threads=1)
    add, teachers = parser.add_argument, sorted([*TEACHERS, "optimised"])
    add("--teacher", action="append", choices=teachers, help="default: ddfm, mask_difuser")
    text = "of optimised: as of training.make_teacher_images"
    add("--detector", nargs="+", action="extend", default=[], metavar="FILE", help=text)
    add("--teacher_size", default="published", choices=("published", "small"))
    add("--model", default="base", help="the student (default: base)")
    add("--backends", type=lambda text: text.split(","), default=["torch", "auto"])
    add("--size", type=parse_size, default=(480, 640), metavar="WIDTHxHEIGHT")
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    options.teacher = options.teacher or ["ddfm", "mask_difuser"]
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    facts = machine_facts(options, "threads", "device")
    found = rows(options)
    table = [["teacher", "steps", "s an image", "cpu s", "student", "ms", "cpu ms", "faster"]]
    for row in found:
        seconds = [f"{row[key]:.1f}" for key in ("teacher_wall_s", "teacher_cpu_s")]
        ms = [f"{1e3 * row[key]:.1f}" for key in ("student_wall_s", "student_cpu_s")]
        first = [row["teacher"], str(row["steps"]), *seconds]
        table.append([*first, row["student"], *ms, f"{row['times_faster']:.0f}x"])
    print_table(table)
    print("teachers: one step timed, times the number of steps")
    if options.json:
        write_file(options.json, json.dumps({"machine": facts, "rows": found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
