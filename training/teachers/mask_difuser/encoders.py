"""The encoders of Mask-DiFuser's two views, and the configuration of the whole network.

A content encoder mixes both views place by place; a semantic encoder turns each into tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from irvis_fusion_core.errors import ConfigurationError


@dataclass(frozen=True)
class MaskDiFuserConfig:
    """The anatomy of a network.

    Args:
        channels: Width of the U-Net's top level; each level has `channel_mult` times as many.
        attention_levels: Where self-attention is used, 0 is the top.
        cross_attention_from: The first level that attends to the tokens of both views.
        content: Widths of the content encoder; its result has `content_out` channels.
        semantic_stem: Width of the semantic encoder's first convolution.
        semantic: Channels of a token; the encoder reduces 16 times.
        patch: Side of the pixel blocks that become channels first.
        prediction: Output of the last layer: the ``noise`` (published), or the ``velocity``
            sqrt(a) noise - sqrt(1 - a) image (arXiv 2202.00512), from which the noise follows.
            Under much noise it is nearly the image, which a short training learns better.
    """

    in_channels: int = 1
    channels: int = 32
    channel_mult: tuple[int, ...] = (1, 2, 2)
    attention_levels: tuple[int, ...] = (2,)
    cross_attention_from: int = 2
    res_blocks: int = 1
    content: tuple[int, ...] = (16, 32, 32)
    content_out: int = 16
    semantic_stem: int = 16
    semantic: int = 64
    semantic_heads: int = 4
    semantic_layers: int = 2
    semantic_hidden: int = 128
    dropout: float = 0.0
    groups: int = 16
    patch: int = 2
    prediction: str = "velocity"

    def __post_init__(self) -> None:
        if self.prediction not in ("noise", "velocity"):
            raise ConfigurationError(
                f"expected a prediction of noise or velocity, found {self.prediction!r}"
            )


PUBLISHED = MaskDiFuserConfig(
    in_channels=3,
    channels=128,
    channel_mult=(1, 2, 3, 4),
    attention_levels=(2,),
    cross_attention_from=0,
    res_blocks=2,
    content=(32, 64, 128),
    content_out=64,
    semantic_stem=32,
    semantic=128,
    semantic_heads=8,
    semantic_layers=4,
    semantic_hidden=2048,
    groups=32,
    patch=1,
    prediction="noise",
)
SMALL = MaskDiFuserConfig()


def norm_conv(groups: int, before: int, channels: int, stride: int = 1) -> list[nn.Module]:
    """Return group normalisation, SiLU and a 3x3 convolution."""
    conv = nn.Conv2d(before, channels, 3, stride, 1)
    return [nn.GroupNorm(groups, before), nn.SiLU(), conv]


class FeatureMixer(nn.Module):
    """Weigh two feature maps against each other by channel and by place: a w + b (1 - w)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.by_channel = self._weights(4 * channels, 2 * channels, channels, groups)
        self.by_place = self._weights(2 * channels, channels, channels, groups)

    @staticmethod
    def _weights(channels_in: int, hidden: int, channels: int, groups: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels_in, hidden, 1),
            nn.GroupNorm(groups, hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.GroupNorm(groups, channels),
        )

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        both = torch.cat([a, b], 1)
        pooled = torch.cat([both.mean((2, 3), keepdim=True), both.amax((2, 3), keepdim=True)], 1)
        weight = torch.sigmoid(self.by_channel(pooled) + self.by_place(both))
        return a * weight + b * (1.0 - weight)


class ContentEncoder(nn.Module):
    """Both views at full resolution, mixed: 2 x [N x C x H x W] -> N x content_out x H x W."""

    def __init__(self, pixels: int, config: MaskDiFuserConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(pixels, config.content[0], 3, 1, 1)]
        for before, width in zip(config.content, config.content[1:]):
            layers += norm_conv(config.groups, before, width)
        self.view = nn.Sequential(*layers)
        width, half = config.content[-1], config.content[-1] // 2
        self.mix = FeatureMixer(width, config.groups)
        self.refine = nn.Sequential(
            *norm_conv(config.groups, width, half),
            *norm_conv(config.groups, half, config.content_out),
        )

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.refine(self.mix(self.view(a), self.view(b)))


class SemanticEncoder(nn.Module):
    """One view -> tokens at a sixteenth of its size, N x semantic x H/16 x W/16."""

    def __init__(self, pixels: int, config: MaskDiFuserConfig) -> None:
        super().__init__()
        d = config.semantic
        widths = [config.semantic_stem, d // 4, d // 2, d, d]
        layers: list[nn.Module] = [nn.Conv2d(pixels, widths[0], 3, 1, 1)]
        for before, width in zip(widths, widths[1:]):
            layers += norm_conv(min(config.groups, before), before, width, stride=2)
        self.stem = nn.Sequential(*layers)
        layer = nn.TransformerEncoderLayer(
            d, config.semantic_heads, config.semantic_hidden, config.dropout, batch_first=True
        )
        self.transformer = nn.TransformerEncoder(
            layer, config.semantic_layers, enable_nested_tensor=False
        )

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        h = self.stem(view)
        tokens = self.transformer(h.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).reshape_as(h)
