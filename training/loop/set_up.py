"""What every run sets up by its options: the process, the precision, Lightning's trainer."""

from __future__ import annotations

import argparse
import logging
from typing import Any, Literal

import cv2
import torch


def precision(
    use_amp: bool, accelerator: str = "auto"
) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return Lightning's name of the precision.

    ``--use_amp`` is fp16 on GPUs, bf16 on CPUs that calculate in it. Others emulate it, many times
    slower than fp32: they stay in fp32.
    """
    if not use_amp:
        return "32-true"
    if accelerator != "cpu" and torch.cuda.is_available():
        return "16-mixed"
    return "bf16-mixed" if cpu_has_bf16() else "32-true"


def cpu_has_bf16() -> bool:
    """Return whether the CPU has instructions for bf16 (AVX-512 BF16 or AMX)."""
    # Names of torch that are not part of its interface: older and newer ones may lack them.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def set_up_process(threads: int) -> None:
    """Set the threads of torch (0: its own choice) and what training needs of the libraries."""
    if threads:
        torch.set_num_threads(threads)
    # OpenCV's threads do not survive the fork of the workers.
    cv2.setNumThreads(0)
    # Hide Lightning's tips.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Denormal weights stall CPUs.
    torch.set_flush_denormal(True)


def steps_in_all(options: argparse.Namespace, steps_per_epoch: int) -> int:
    """Return the steps of ``--epochs``, or ``--max_steps`` where these are fewer."""
    steps = options.epochs * steps_per_epoch
    return min(steps, options.max_steps) if options.max_steps > 0 else steps


def trainer_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the trainers of student and teacher share, as arguments of Lightning's."""
    return {
        **{name: getattr(options, name) for name in ("accelerator", "num_nodes", "strategy")},
        "devices": int(options.devices) if options.devices.isdigit() else options.devices,
        "precision": precision(options.use_amp, options.accelerator),
        "max_epochs": options.epochs,
        "log_every_n_steps": options.log_freq,
        # `EpochSampler` gives every process its part of the draws.
        "use_distributed_sampler": False,
    }
