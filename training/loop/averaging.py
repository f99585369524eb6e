"""Averages of students' weights: over the steps of a run, and of two runs."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn

from irvis_fusion_core.errors import ConfigurationError


class WeightAverage(nn.Module):
    """Holds the average as a student of its own, in eval mode and without gradients.

    :param decay: share that is kept each step, 0..1; 0 follows the student exactly. Early on it is
        ``step / (step + 10)`` where that is less, or the start would weigh for ever.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.student = copy.deepcopy(student).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move towards `student`, which has done `step` steps."""
        decay = min(self.decay, step / (step + 10.0))
        for kept, fresh in zip(
            self.student.state_dict().values(), student.state_dict().values(), strict=True
        ):
            if kept.is_floating_point():
                kept.lerp_(fresh, 1.0 - decay)
            else:
                kept.copy_(fresh)

    def train(self, mode: bool = True) -> "WeightAverage":
        """Stay in eval mode whatever the module around it does."""
        return super().train(False)


@torch.no_grad()
def blend(first: nn.Module, second: nn.Module, share: float) -> None:
    """Move `first` towards `second` by `share`, 0..1: every weight and statistic in between.

    Between a student and what further training made of it lies a continuous choice between what
    both are good at (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Of
    students that were not trained from each other the blend is good for nothing.

    :raises ConfigurationError: a share outside 0..1, or students of two sizes.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigurationError(f"expected a share within 0..1, found {share}")
    towards = second.state_dict()
    if {k: v.shape for k, v in first.state_dict().items()} != {
        k: v.shape for k, v in towards.items()
    }:
        raise ConfigurationError("expected two students of one size to blend, found two sizes")
    for name, tensor in first.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(towards[name], share)
