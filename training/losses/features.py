"""Feature distillation: the student's features should predict those of a deeper network.

Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015 (arXiv 1412.6550). The fused
features at 1/4, 1/8 and 1/16 pass one 1x1 convolution each (trained with it, dropped
afterwards) and are compared with features of the same scales: those of a larger student on the
same pair, or VGG-16's of the teacher's image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class FeatureAdapters(nn.Module):
    """One 1x1 convolution a scale, from the student's channels to the teacher's.

    Args:
        student_channels: At 1/4, 1/8 and 1/16.
        teacher_channels: See `student_channels`.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(
            nn.Conv2d(s, t, 1) for s, t in zip(student_channels, teacher_channels)
        )

    def forward(
        self,
        student: Sequence[torch.Tensor],
        teacher: Sequence[torch.Tensor],
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean over scales and pixels of 1 - the cosine of both feature vectors, 0..2.

        Args:
            weight: Nx1xHxW, how much each pixel counts; averaged down to each scale.
        """
        terms = []
        for adapter, s, t in zip(self.adapters, student, teacher):
            away = 1.0 - F.cosine_similarity(adapter(s.float()).float(), t.detach().float(), dim=1)
            if weight is None:
                terms.append(away.mean())
            else:
                w = F.adaptive_avg_pool2d(weight, away.shape[1:])[:, 0]
                terms.append((away * w).sum() / w.sum().clamp_min(1e-6))
        return torch.stack(terms).mean()
