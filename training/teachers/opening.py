"""Open a teacher as the options of `training.make_teacher_images` say."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from irvis_fusion_core.model_zoo import sha256_of
from irvis_fusion_core.network.checkpoint import load_checkpoint
from training.losses.frozen_detector import FrozenDetector
from training.options import default_weights
from training.teachers import conditional, ddfm, optimised
from training.teachers.ensembles import EnsembleSampler
from training.teachers.mask_difuser import teacher as mask_difuser
from training.teachers.prior_files import load_network

MAXIMUM = "maximum"
"""Start of the optimised teacher in place of a student's file."""


def open_teacher(
    teacher: str, checkpoint: str, device: torch.device, options: argparse.Namespace
) -> EnsembleSampler:
    """Open one teacher; `options` have its samples and steps."""
    model: ddfm.DDFM | mask_difuser.MaskDiFuser | optimised.Optimised
    more = (options.seed, options.max_side, options.use_amp, teacher in options.hold_brightness)
    if teacher == "optimised":
        model = _open_optimised(checkpoint, device, options)
        return EnsembleSampler(model, options.samples, options.batch_size, device, *more)
    network = load_network(teacher, checkpoint).to(device)
    if teacher == "ddfm":
        steps = options.steps or ddfm.PUBLISHED_STEPS
        model = ddfm.DDFM(network, steps, options.sampler, options.eta, options.mode)
    elif teacher == "conditional":
        steps = options.steps or conditional.DEFAULT_STEPS
        model = conditional.Conditional(network, steps, options.eta)
    else:
        steps = options.steps or mask_difuser.PUBLISHED_STEPS
        model = mask_difuser.MaskDiFuser(network, steps, options.eta)
    return EnsembleSampler(model, options.samples, options.batch_size, device, *more)


def _open_optimised(
    start: str, device: torch.device, options: argparse.Namespace
) -> optimised.Optimised:
    """Open the networks of the optimised teacher."""
    student = None if start == MAXIMUM else load_checkpoint(start).eval().to(device)
    prior = load_network("ddfm", options.prior).to(device) if options.prior else None
    weights = default_weights(bool(options.detector))
    if not options.detector_scores:
        weights = {name: w for name, w in weights.items() if name not in optimised.SCORES}
    return optimised.Optimised(
        weights,
        [FrozenDetector(path) for path in options.detector],
        student,
        options.steps or optimised.DEFAULT_STEPS,
        prior,
    )


def settings_of(teacher: str, checkpoint: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that change the images."""
    names = ("samples", "steps", "eta", "seed", "max_side", "use_amp")
    chosen = {name: getattr(options, name) for name in names}
    if teacher in options.hold_brightness:
        chosen["hold_brightness"] = True
    if teacher == "ddfm":
        chosen.update(sampler=options.sampler, mode=options.mode)
    if teacher == "optimised":
        chosen["detector_sha256"] = [sha256_of(path) for path in options.detector]
        chosen["detector_scores"] = options.detector_scores
        chosen["prior_sha256"] = sha256_of(options.prior) if options.prior else None
    start = checkpoint if checkpoint == MAXIMUM else sha256_of(checkpoint)
    return {"teacher": teacher, "checkpoint_sha256": start, **chosen}
