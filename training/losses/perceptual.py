"""VGG-16 features of images, and the perceptual loss on them.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from training.losses.backbones import open_features

FEATURE_CHANNELS = (256, 512, 512)
"""Channels of the last three blocks, which have the scales of the student's features."""

_LAST_OF_BLOCK = (3, 8, 15, 22, 29)  # indices of ReLUs in torchvision's vgg16().features

# ImageNet's statistics, which the weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg16(nn.Module):
    """The convolutions of VGG-16, frozen.

    ``forward(luminance)``: float Nx1xHxW, grey levels 0..255 -> the output of the last ReLU of
    each block: 64, 128, 256, 512, 512 channels at 1, 1/2, 1/4, 1/8 and 1/16 of the size.
    """

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, luminance: torch.Tensor, blocks: int = 5) -> list[torch.Tensor]:
        x = ((luminance / 255.0).expand(-1, 3, -1, -1) - self.mean) / self.std
        found = []
        for index, layer in enumerate(self.features[: _LAST_OF_BLOCK[blocks - 1] + 1]):
            x = layer(x)
            if index in _LAST_OF_BLOCK:
                found.append(x)
        return found


def perceptual_distance(
    fused: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the mean over blocks of the features' squared difference.

    Each block's difference is relative to the size of the teacher's features: deeper blocks have
    larger values, and all blocks should count alike.
    """
    terms = [F.mse_loss(f, t) / t.square().mean().clamp_min(1e-6) for f, t in zip(fused, teacher)]
    return torch.stack(terms).mean()


def open_vgg16(weights: str | Path | None = None) -> Vgg16:
    """Return VGG-16 with torchvision's weights, in eval mode.

    Args:
        weights: Their file; None: torch.hub's cache, or torchvision (see `open_features`).

    Raises:
        WeightsMissingError: there are no weights, or the file holds other weights.
    """
    advice = (
        "name the file by --vgg_weights, or train without them: --lambda_perc 0 --lambda_feat 0"
    )
    return Vgg16(open_features("vgg16", weights, advice)).requires_grad_(False).eval()
