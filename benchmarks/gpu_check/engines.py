"""Engines on the GPU: the images that they make, their memory over many frames, their times."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.gpu_check.report import FAILED, PASSED, SKIPPED, Section
from benchmarks.latency import __main__ as latency
from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends import choose_backend
from irvis_fusion_core.backends.cuda_memory import installed_packages
from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.commands import benchmark
from irvis_fusion_core.errors import EngineUnavailableError, FusionError
from irvis_fusion_core.fusion import RealtimeFusion

GPU_BACKENDS = ("torch", "tensorrt", "tensorrt_rtx")
TOLERANCE = 1  # grey levels
SIZES = ((480, 640), (241, 333))
GROWTH_LIMIT_MB = 8.0
FRAMES = 10_000
SETTLE = 1_000  # frames until caches and pools have grown


class Case(NamedTuple):
    """One way to run a model on the GPU."""

    backend: str
    model: str
    precision: str
    memory: str = "auto"
    cuda_graph: bool = True
    size: tuple[int, int] = SIZES[0]

    def open(self) -> RealtimeFusion:
        """Open it on the GPU."""
        return RealtimeFusion(
            self.model,
            self.backend,
            precision=self.precision,
            thermal=None,
            device="cuda",
            cuda_memory=self.memory,
            cuda_graph=self.cuda_graph,
        )

    def texts(self) -> list[str]:
        graph = "yes" if self.cuda_graph else "no"
        size = f"{self.size[1]}x{self.size[0]}"
        return [self.backend, self.model, self.precision, self.memory, graph, size]


HEADING = ["engine", "model", "precision", "memory", "CUDA graph", "size"]


def backends_here() -> tuple[list[str], str]:
    """Return the backends that run on this GPU, and why the others do not."""
    found, reasons = [], []
    for name in GPU_BACKENDS:
        try:
            choose_backend(name, "cuda")
            found.append(name)
        except EngineUnavailableError as error:
            reasons.append(f"{name}: {error}")
    return found, "; ".join(reasons)


def all_cases(backends: Iterable[str]) -> Iterator[Case]:
    """Yield what has to agree with the CPU: all files and sizes, memories and graphs for nano."""
    for backend in backends:
        for model in model_zoo.list_models():
            shipped = {*model_zoo.precisions(model), "fp16"}
            for precision in ("fp32", "fp16", "int8"):
                if precision in ({"fp32", "fp16"} if backend == "torch" else shipped):
                    for size in SIZES:
                        yield Case(backend, model, precision, size=size)
        memories = ["auto"] if backend == "torch" else installed_packages()
        for memory in memories:
            for cuda_graph in (True, False):
                yield Case(backend, "nano", "fp32", memory, cuda_graph)


def agreement(
    cases: Iterable[Case],
    out_of_time: Callable[[], bool] = lambda: False,
    reference: str = "onnxruntime",
    open_case: Callable[[Case], RealtimeFusion] = Case.open,
) -> Section:
    """Compare the image of every case with that of the same file on the CPU.

    Args:
        cases: each once.
        out_of_time: asked before each case; the rest is then named as not run.
        reference: the backend on the CPU.
    """
    rows, worst, left = [], 0, 0
    for case in dict.fromkeys(cases):
        if out_of_time():
            left += 1
            continue
        pairs = [example_pair(*case.size), _noise(*case.size)]
        try:
            with RealtimeFusion(
                case.model, reference, precision=case.precision, thermal=None, device="cpu"
            ) as fusion:
                expected = [fusion.fuse_frame(*pair) for pair in pairs]
            with open_case(case) as fusion:
                # Twice: the second frame replays the CUDA graph.
                found = [fusion.fuse_frame(*pair) for pair in (*pairs, *pairs)]
        except FusionError as error:
            rows.append([*case.texts(), "", "", str(error)])
            worst = 256
            continue
        difference = np.concatenate(
            [np.abs(a.astype(np.int16) - b).ravel() for a, b in zip(found, (*expected, *expected))]
        )
        largest = int(difference.max())
        worst = max(worst, largest)
        beyond = float(np.mean(difference > TOLERANCE))
        rows.append([*case.texts(), str(largest), f"{beyond:.1e}", ""])
    if not rows:
        return Section("images", SKIPPED, "no case was run")
    reason = f"largest difference from {reference} on the CPU, at most {TOLERANCE} grey level"
    if left:
        reason += f"; {left} cases were not run, the time was up"
    state = PASSED if worst <= TOLERANCE else FAILED
    heading = [*HEADING, "largest difference", "share beyond", "error"]
    return Section("images", state, reason, heading, rows)


def memory_growth(
    cases: Iterable[Case],
    frames: int = FRAMES,
    settle: int = SETTLE,
    open_case: Callable[[Case], RealtimeFusion] = Case.open,
) -> Section:
    """Fuse many frames and compare the memory after `settle` frames with that at the end."""
    rows, grows = [], False
    for case in cases:
        ir, vis = example_pair(*case.size)
        with open_case(case) as fusion:
            for _ in range(settle):
                fusion.fuse_frame(ir, vis)
            before = _memory_mb()
            for _ in range(frames - settle):
                fusion.fuse_frame(ir, vis)
            after = _memory_mb()
        growth = [b - a for a, b in zip(before, after)]
        grows |= any(mb > GROWTH_LIMIT_MB for mb in growth if mb == mb)
        rows.append([*case.texts(), str(frames), *(f"{mb:+.1f}" for mb in growth)])
    if not rows:
        return Section("memory", SKIPPED, "no engine runs on a GPU here")
    reason = f"growth after frame {settle}, at most {GROWTH_LIMIT_MB:g} MB"
    heading = [*HEADING, "frames", "process MB", "GPU MB"]
    return Section("memory", FAILED if grows else PASSED, reason, heading, rows)


def times(
    backends: Sequence[str],
    sizes: Sequence[tuple[int, int]] = ((480, 640), (1024, 1280)),
    device: str = "cuda",
    rounds: int = 10,
) -> Section:
    """Time every model and precision in turns with the plain-convolution yardstick."""
    if not backends:
        return Section("times", SKIPPED, "no engine runs on a GPU here")
    if importlib.util.find_spec("torch") is None:
        return Section("times", SKIPPED, "the yardstick needs torch; see `irvis_fusion benchmark`")
    import torch

    from benchmarks.latency.yardstick import PixelYardstick

    place = device if torch.cuda.is_available() else "cpu"
    yardstick = PixelYardstick(0, place)
    rows = []
    for size in sizes:
        wanted = list(backends), model_zoo.list_models(), ["fp32", "fp16", "int8"], 0, device
        with benchmark.open_cases(*wanted, sys.stderr) as fusions:
            timings = latency.measure(fusions, yardstick.fuse, size, rounds)
        reference = timings[latency.YARDSTICK].median_ms
        for case, timing in timings.items():
            ratio = f"{reference / timing.median_ms:.1f}x"
            found = [f"{ms:.2f}" for ms in (timing.median_ms, timing.p99_ms)]
            rows.append([f"{size[1]}x{size[0]}", *case, *found, ratio])
    heading = ["size", "engine", "model", "precision", "p50 ms", "p99 ms", "faster than yardstick"]
    return Section("times", PASSED, f"the yardstick ran on {place}", heading, rows)


def _noise(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ir = rng.integers(0, 256, (height, width, 1), np.uint8)
    return ir, rng.integers(0, 256, (height, width, 3), np.uint8)


def _memory_mb() -> tuple[float, float]:
    """Return the resident memory of this process and the memory in use on the GPU (or NaN)."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        resident = int(stream.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    return resident, gpu_memory_mb()


def gpu_memory_mb() -> float:
    """Return the memory in use on the first GPU, MB; NaN where nothing tells it.

    A Jetson's GPU uses the memory of the host, and the process's own figure holds it.
    """
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
        return float(told.stdout.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return float("nan")


def driver_version() -> str:
    """Return the CUDA version of the driver, or why there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no driver"
    version = ctypes.c_int()
    status = driver.cuDriverGetVersion(ctypes.byref(version))
    if status != 0:
        return f"no answer (CUDA error {status})"
    return f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
