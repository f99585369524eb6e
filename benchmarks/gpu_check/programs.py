"""Other programs that have to run on the GPU: tests, training, a diffusion teacher, the node."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu_check.report import FAILED, PASSED, SKIPPED, Section
from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.image_files import write_image

ROOT = Path(__file__).resolve().parents[2]
TRAINING_STEPS = 40
TEACHER_SIZE = (256, 320)


def run(arguments: Sequence[str], timeout_s: float) -> tuple[int | None, str]:
    """Run `python ARGUMENTS` in the repository; return its status (None: time over) and output."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except BaseException as error:
        # With what it started, which holds the pipe open; Ctrl-C reaches none of them.
        os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return None, process.communicate()[0]
    return process.returncode, output


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _ended(name: str, status: int | None, output: str) -> Section:
    how = "did not end in time" if status is None else f"ended with status {status}"
    return Section(name, FAILED, f"{how}: {last_line(output)}")


def marked_tests(timeout_s: float, folder: str = "test") -> Section:
    """Run the tests marked `gpu`."""
    if importlib.util.find_spec("pytest") is None:
        return Section("tests", SKIPPED, "pytest is not installed")
    status, output = run(["-m", "pytest", "-q", "-m", "gpu", folder], timeout_s)
    if status != 0:
        return _ended("tests", status, output)
    if " passed" not in last_line(output):
        return Section("tests", SKIPPED, last_line(output))
    return Section("tests", PASSED, last_line(output))


def training(timeout_s: float, folder: Path, accelerator: str = "gpu") -> Section:
    """Train a student for some steps on drawn pairs, with and without mixed precision."""
    if importlib.util.find_spec("lightning") is None:
        return Section("training", SKIPPED, "lightning is not installed: pip install '.[train]'")
    street = NightStreet(320, 256)
    for part, count in (("train", 8), ("val", 2)):
        for number in range(count):
            frame = street.frame(0.7 * number + (0.3 if part == "val" else 0.0))
            write_image(str(folder / part / "IR" / f"{number}.png"), frame.ir)
            write_image(str(folder / part / "VIS" / f"{number}.png"), frame.vis[..., ::-1])
    rows = []
    for name, more in (("fp32", []), ("mixed", ["--use_amp"])):
        runs = str(folder / f"run_{name}")
        arguments = ["-m", "training.train", "--train_root", str(folder / "train")]
        arguments += ["--val_root", str(folder / "val"), "--variant", "nano", "--batch_size", "4"]
        arguments += ["--input_size", "160", "--max_steps", str(TRAINING_STEPS)]
        arguments += ["--samples_per_epoch", str(4 * TRAINING_STEPS), "--epochs", "1"]
        arguments += ["--checkpoint_dir", runs, "--log_dir", runs, "--num_workers", "1"]
        arguments += ["--accelerator", accelerator, *more]
        begun = time.perf_counter()
        status, output = run(arguments, timeout_s / 2)
        if status != 0:
            return _ended("training", status, output)
        if not list(Path(runs).rglob("best_model*")):
            return Section("training", FAILED, f"{name} left no best model in its folder")
        rows.append([name, str(TRAINING_STEPS), f"{time.perf_counter() - begun:.0f}"])
    heading = ["precision", "steps", "s with start and validation"]
    return Section("training", PASSED, f"nano from scratch on {accelerator}", heading, rows)


def teacher(device: str = "cuda", size: str = "published") -> Section:
    """Draw one image with DDFM of fresh weights, and time one of its steps."""
    if importlib.util.find_spec("torch") is None:
        return Section("teacher", SKIPPED, "torch is not installed: pip install '.[train]'")
    import torch

    from training.teachers import ddfm
    from training.teachers.prior_files import create_network

    if device != "cpu" and not torch.cuda.is_available():
        return Section("teacher", SKIPPED, f"torch {torch.__version__} cannot use the GPU")
    torch.manual_seed(0)
    ir, vis = (
        torch.from_numpy(x).permute(2, 0, 1)[None].float().to(device) / 255.0
        for x in example_pair(*TEACHER_SIZE)
    )
    steps = ddfm.PUBLISHED_STEPS if device != "cpu" else 2
    model = ddfm.DDFM(create_network("ddfm", size).to(device), steps)
    model.fuse(ir, vis, [0])  # kernels are loaded at the first call
    begun = time.perf_counter()
    image = model.fuse(ir, vis, [0]).cpu()
    seconds = time.perf_counter() - begun
    if not bool(torch.isfinite(image).all()) or image.shape[-2:] != TEACHER_SIZE:
        return Section("teacher", FAILED, f"the image is not finite, or has {image.shape}")
    row = [f"{TEACHER_SIZE[1]}x{TEACHER_SIZE[0]}", str(steps), f"{seconds:.2f}"]
    row.append(f"{1e3 * seconds / steps:.1f}")
    return Section(
        "teacher",
        PASSED,
        f"DDFM, {size} network, fresh weights, on {device}",
        ["size", "steps", "s an image", "ms a step"],
        [row],
    )


def node(backend: str, seconds: float, timeout_s: float) -> Section:
    """Run the node over DDS with an engine of the GPU, and a camera and a consumer beside it."""
    if importlib.util.find_spec("rclpy") is None:
        return Section("node", SKIPPED, "rclpy is not installed")
    arguments = ["-m", "benchmarks.node_latency", "--seconds", f"{seconds:g}"]
    arguments += ["--backend", backend, "--model", "base", "--settle-s", "30"]
    status, output = run(arguments, timeout_s)
    if status != 0:
        return _ended("node", status, output)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")][:3]
        for line in output.splitlines()
        if re.match(
            r"\| (fusion_node|bare relay|engine|every visible frame|node's own cost)", line
        )
    ]
    fused = re.search(r"^(\d+) of (\d+) frames that came out were fused.*$", output, re.M)
    if fused is None:
        return Section("node", FAILED, f"no result: {last_line(output)}")
    good = int(fused[1]) > 0.9 * int(fused[2]) > 0
    lost = "every visible frame out once, in order" in output and "| NO |" not in next(
        line for line in output.splitlines() if "every visible frame out once" in line
    )
    state = PASSED if good and lost else FAILED
    return Section("node", state, f"base on {backend}: {fused[0]}", ["", "", ""], rows)
