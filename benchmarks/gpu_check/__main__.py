"""Prove the GPU paths: engines against the CPU, memory, times, training, a teacher, the node.

    make gpu-check                                   # in at most eight minutes, without internet
    python -m benchmarks.gpu_check --output out/gpu --only images times

Writes gpu_report.md and gpu_report.json after every section. A section runs in a process of its
own: a crash or a stop costs its own row. Without an NVIDIA GPU everything is named as skipped.
The exit status is 1 if something failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from benchmarks.gpu_check import engines, programs
from benchmarks.gpu_check.report import FAILED, SKIPPED, Section, verdict, write_report
from benchmarks.shared.options import make_parser
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.backends.cuda_device import find_gpu
from irvis_fusion_core.benchmark import machine

LIMIT_S = 480.0
THIS = ("-m", "benchmarks.gpu_check")
PACKAGES = (
    "torch",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-python",
    "pycuda",
    "numpy",
    "onnxruntime",
    "lightning",
)


def _images(seconds: float) -> Section:
    end = time.monotonic() + 0.9 * seconds
    cases = engines.all_cases(engines.backends_here()[0])
    return engines.agreement(cases, lambda: time.monotonic() > end)


def _memory(_: float) -> Section:
    here = engines.backends_here()[0]
    return engines.memory_growth(engines.Case(name, "nano", "fp16") for name in here)


def _training(seconds: float) -> Section:
    with tempfile.TemporaryDirectory() as folder:
        return programs.training(seconds, Path(folder))


def _node(seconds: float) -> Section:
    backends, reasons = engines.backends_here()
    if not backends:
        return Section("node", SKIPPED, reasons)
    fastest = next(name for name in ("tensorrt", "tensorrt_rtx", "torch") if name in backends)
    return programs.node(fastest, min(60.0, seconds / 4), seconds)


# name -> its share of the time, what runs it within a number of seconds.
SECTIONS: dict[str, tuple[float, Callable[[float], Section]]] = {
    "tests": (0.1, programs.marked_tests),
    "images": (0.3, _images),
    "memory": (0.1, _memory),
    "times": (0.1, lambda _: engines.times(engines.backends_here()[0])),
    "training": (0.12, _training),
    "teacher": (0.08, lambda _: programs.teacher()),
    "node": (0.2, _node),
}


def run_apart(name: str, seconds: float) -> Section:
    """Run a section in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "section.json")
        begun = time.monotonic()
        arguments = [*THIS, "--section", name, "--seconds", str(seconds), "--result", result]
        status, output = programs.run(arguments, seconds)
        try:
            section = Section(**json.loads(Path(result).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            how = "was stopped: its time was up" if status is None else f"died, status {status}"
            section = Section(name, FAILED, f"{how}; {programs.last_line(output)}")
        section.seconds = time.monotonic() - begun
        return section


def facts() -> dict[str, str]:
    """Return what the report says about the machine."""
    gpu, reason = find_gpu()
    found = {"GPU": gpu.name if gpu else f"none: {reason}"}
    if gpu:
        found["compute capability"] = gpu.capability
    found["driver"] = engines.driver_version()
    known = machine()
    found.update({name: known[name] for name in ("processor", "cores", "system", "python")})
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def check(
    output: Path,
    names: Sequence[str],
    limit_s: float,
    gpu: bool,
    run_section: Callable[[str, float], Section] = run_apart,
) -> str:
    """Run the sections, write the report after each, and return the verdict."""
    about, sections = facts(), []
    shares = sum(SECTIONS[name][0] for name in names)
    for name in names:
        if gpu:
            section = run_section(name, limit_s * SECTIONS[name][0] / shares)
        else:
            section = Section(name, SKIPPED, "no GPU")
        sections.append(section)
        print(f"{name}: {section.state} ({section.seconds:.0f} s) {section.reason}", flush=True)
        write_report(output, about, sections)
    return verdict(sections)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    add, names = parser.add_argument, list(SECTIONS)
    add("--output", type=Path, default=Path("out/gpu"), help="folder (default: out/gpu)")
    add(
        "--only", nargs="+", choices=names, default=names, metavar="SECTION", help=", ".join(names)
    )
    add("--seconds", type=float, default=LIMIT_S, help=f"time for all (default: {LIMIT_S:g})")
    add("--section", choices=names, help=argparse.SUPPRESS)
    add("--result", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.section:
        section = SECTIONS[options.section][1](options.seconds)
        write_file(options.result, json.dumps(asdict(section)))
        return 0
    gpu = find_gpu()[0] is not None
    result = check(options.output, options.only, options.seconds, gpu)
    print(f"{result}: see {options.output / 'gpu_report.md'}")
    return int(result == FAILED)


if __name__ == "__main__":
    sys.exit(main())
