"""Terms against a teacher: on the pixels of its image, and on deep features.

Images are float luminance N x 1 x H x W in grey levels 0..255; terms are scalars, 0 where both are
equal. Those on features of trained networks are in `perceptual`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from training.losses.source_terms import edges, ssim


def trust(variance: torch.Tensor, noise: float = 4.0) -> torch.Tensor:
    """Return the weight of a teacher whose samples vary, ``n^2 / (n^2 + v)``.

    Args:
        variance: Of the teacher's luminance, white being 1.
        noise: Difference of samples at which they count half, grey levels.
    """
    floor = (noise / 255.0) ** 2
    return floor / (floor + variance)


def pixel_l1(
    fused: torch.Tensor, teacher: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean absolute difference (white is 1), weighted by `weight` where given."""
    difference = (fused - teacher).abs() / 255.0
    if weight is None:
        return difference.mean()
    # Divided by the weights, so that an uncertain teacher does not count less as a whole.
    return (difference * weight).sum() / weight.sum().clamp_min(1e-6)


def structure(fused: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return 1 - SSIM (7x7 uniform window, range 255)."""
    return 1.0 - ssim(fused, teacher).mean()


def gradient(fused: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of Sobel components; 1 is from black to white."""
    (_, fx, fy), (_, tx, ty) = edges(fused), edges(teacher)
    # The Sobel kernel answers a step by four times its height.
    return ((fx - tx).abs().mean() + (fy - ty).abs().mean()) / (2.0 * 4.0 * 255.0)


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
