"""The average of a student's weights over the steps of a run."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


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
