"""Terms on the pixels of a fused image and its teacher's.

All take float luminance N x 1 x H x W in grey levels 0..255 and give a scalar, 0 where both are
equal. Deep features are in `perceptual` and `features`.
"""

from __future__ import annotations

import torch

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
