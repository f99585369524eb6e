"""Blocks of MobileNetV3 (arXiv 1905.02244): depthwise convolutions, squeeze-and-excitation."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activate: bool = True,
) -> nn.Sequential:
    """Convolution, batch norm (folded into it at export), hard swish."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
    ]
    if activate:
        layers.append(nn.Hardswish())
    return nn.Sequential(*layers)


def gate(x: torch.Tensor) -> torch.Tensor:
    """Return a hard sigmoid as scale and clip, which CPU engines fuse (not HardSigmoid)."""
    return (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)


def gain(x: torch.Tensor) -> torch.Tensor:
    """Return a hard tanh, -1..1."""
    return x.clamp(-1.0, 1.0)


def bilinear_weights(factor: int) -> torch.Tensor:
    """Return the kernels, factor² x 1 x 3 x 3, that interpolate an image `factor` times finer.

    The channels are in the order of `F.pixel_unshuffle`.
    """
    offsets = (torch.arange(factor) + 0.5) / factor - 0.5
    taps = torch.stack([(-offsets).clamp_min(0.0), 1.0 - offsets.abs(), offsets.clamp_min(0.0)], 1)
    return torch.einsum("iy,jx->ijyx", taps, taps).reshape(factor * factor, 1, 3, 3)


class SqueezeExcite(nn.Module):
    """Channel weights from the image's mean: N x C x H x W -> the same (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = x.mean((2, 3), keepdim=True)
        weights = gate(self.expand(F.relu(self.reduce(weights))))
        return x * weights


class InvertedResidual(nn.Module):
    """MobileNetV3 block: expand, depthwise 3x3, squeeze-and-excite, project."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        stride: int = 1,
        excite: bool = True,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = conv_norm(in_channels, hidden)
        self.depthwise = conv_norm(hidden, hidden, 3, stride, groups=hidden)
        self.excite = SqueezeExcite(hidden) if excite else nn.Identity()
        self.project = conv_norm(hidden, out_channels, activate=False)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y
