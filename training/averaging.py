"""A moving average of a student's weights: steadier than the weights themselves."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn


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
