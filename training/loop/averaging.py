"""Averages of students' weights: over the steps of a run, and of two runs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from irvis_fusion_core.errors import ConfigurationError


def moving_average(student: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average that starts as a copy of `student`.

    It takes no gradients. ``update_parameters(student)`` moves it, ``module`` is the student that
    it holds. Batch norms' statistics are averaged too.

    Args:
        decay: Share that is kept each step, 0..1; 0 follows the student exactly. In step n it is
            at most ``n / (n + 10)``, so that the first weights are soon forgotten.
    """
    average = AveragedModel(
        student, multi_avg_fn=functools.partial(_follow, decay), use_buffers=True
    )
    # From 1 on torch calls our function; at 0 it would copy the student.
    average.n_averaged.fill_(1)
    return average.requires_grad_(False)


def _follow(
    decay: float, kept: Sequence[torch.Tensor], fresh: Sequence[torch.Tensor], step: torch.Tensor
) -> None:
    count = int(step)
    share = 1.0 - min(decay, count / (count + 10.0))
    for old, new in zip(kept, fresh, strict=True):
        if old.is_floating_point():
            old.lerp_(new, share)
        else:
            old.copy_(new)


@torch.no_grad()
def blend(first: nn.Module, second: nn.Module, share: float) -> None:
    """Move every weight and statistic of `first` towards `second` by `share`, 0..1.

    Weights between a student and what further training made of it trade the strengths of both
    (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). A blend of students
    that were not trained from each other is useless.

    Raises:
        ConfigurationError: a share outside 0..1, or students of two sizes.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigurationError(f"expected a share within 0..1, found {share}")
    moved, towards = first.state_dict(), second.state_dict()
    if {k: v.shape for k, v in moved.items()} != {k: v.shape for k, v in towards.items()}:
        raise ConfigurationError("expected two students of one size to blend, found two sizes")
    for name, tensor in moved.items():
        if tensor.is_floating_point():
            tensor.lerp_(towards[name], share)
