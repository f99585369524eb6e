"""The conditional network of Mask-DiFuser (Tang, Li and Ma, TPAMI 2025): two views in, noise out.

A content encoder mixes both views place by place; a semantic encoder turns each into tokens. A
U-Net takes the noisy image with the mixed content; its blocks attend to the tokens of both views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import expect_one_of
from training.teachers.diffusion import linear_schedule


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
            sqrt(a) noise - sqrt(1 - a) image (arXiv 2202.00512), which a short training learns
            better.
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
        expect_one_of("prediction", self.prediction, ("noise", "velocity"))


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


class Condition(NamedTuple):
    """The encoded views: N x C x h x w tokens of each, and mixed content."""

    tokens_a: torch.Tensor
    tokens_b: torch.Tensor
    content: torch.Tensor


def sinusoids(steps: int, channels: int) -> torch.Tensor:
    """Return sine and cosine of every timestep in turns: [steps, channels]."""
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(0, channels, 2) / channels)
    angles = torch.arange(steps, dtype=torch.float32)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend from every place of q to every place of k and v, one head: N x C x H x W."""
    q_flat, k_flat, v_flat = (x.flatten(2).transpose(1, 2) for x in (q, k, v))
    seen = F.scaled_dot_product_attention(q_flat, k_flat, v_flat)
    return seen.transpose(1, 2).reshape_as(q)


class SelfAttention(nn.Module):
    """N x C x H x W -> the same."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        return x + self.out(_attend(self.q(h), self.k(h), self.v(h)))


class CrossAttention(nn.Module):
    """Attention of each place of x to the tokens of a view, without the residual."""

    def __init__(self, channels: int, token_channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.token_norm = nn.GroupNorm(groups, token_channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(token_channels, channels, 1)
        self.v = nn.Conv2d(token_channels, channels, 1)

    def forward(self, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        tokens = self.token_norm(tokens)
        return _attend(self.q(self.norm(x)), self.k(tokens), self.v(tokens))


class ConditionedBlock(nn.Module):
    """Residual block with the time embedding, self-attention, and the tokens of both views."""

    def __init__(
        self, channels_in: int, channels: int, config: MaskDiFuserConfig, attend: bool, cross: bool
    ) -> None:
        super().__init__()
        groups = config.groups
        self.first = nn.Sequential(*norm_conv(groups, channels_in, channels))
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(4 * config.channels, channels))
        norm, activation, conv = norm_conv(groups, channels, channels)
        self.second = nn.Sequential(norm, activation, nn.Dropout(config.dropout), conv)
        same = channels_in == channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)
        self.attention = SelfAttention(channels, groups) if attend else nn.Identity()
        self.cross = CrossAttention(channels, config.semantic, groups) if cross else None
        if cross:
            conv = nn.Conv2d(3 * channels, channels, 3, 1, 1)
            self.combine = nn.Sequential(conv, nn.GroupNorm(groups, channels), nn.SiLU())

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, seen: Condition) -> torch.Tensor:
        h = self.first(x) + self.time(embedding)[:, :, None, None]
        h = self.attention(self.second(h) + self.skip(x))
        if self.cross is None:
            return h
        # One view after the other, in both orders, so that neither has the last word.
        ab = self.cross(self.cross(h, seen.tokens_a), seen.tokens_b)
        ba = self.cross(self.cross(h, seen.tokens_b), seen.tokens_a)
        return h + self.combine(torch.cat([ab, ba, ab + ba], 1))


class Upsample(nn.Conv2d):
    """Bilinear doubling, then a convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return super().forward(x)


class MaskDiFuserNetwork(nn.Module):
    """Guess the noise in an image of which two half-blind views are given.

    ``condition(a, b)``: N x in_channels x H x W each, -1..1, once an image; H and W multiples of
    `multiple`. ``forward(x, timesteps, condition)``: N x in_channels x H x W -> the same.
    """

    def __init__(self, config: MaskDiFuserConfig) -> None:
        super().__init__()
        self.config = config
        self.multiple = 16 * config.patch
        width, pixels = config.channels, config.in_channels * config.patch**2
        self.time_embed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width)
        )
        self.fill_tables()
        self.content = ContentEncoder(pixels, config)
        self.semantic = SemanticEncoder(pixels, config)
        noisy = config.content_out
        conv = nn.Conv2d(pixels, noisy, 3, 1, 1)
        self.noisy = nn.Sequential(conv, nn.GroupNorm(config.groups, noisy), nn.SiLU())
        self.head = nn.Conv2d(2 * noisy, width, 3, 1, 1)
        self._build_unet()
        top = width * config.channel_mult[0]
        self.tail = nn.Sequential(*norm_conv(config.groups, top, pixels))

    def fill_tables(self) -> None:
        """Compute embeddings of the timesteps and shares of the image, which are not stored."""
        table = sinusoids(1000, self.config.channels)
        levels = torch.from_numpy(linear_schedule().alphas_bar).float()
        self.register_buffer("sinusoids", table, persistent=False)
        self.register_buffer("alphas_bar", levels, persistent=False)

    def _build_unet(self) -> None:
        config, last = self.config, len(self.config.channel_mult) - 1
        channels, skips = config.channels, [config.channels]

        def block(before: int, level: int, attend: bool | None = None) -> ConditionedBlock:
            if attend is None:
                attend = level in config.attention_levels
            cross = level >= config.cross_attention_from
            width = config.channels * config.channel_mult[level]
            return ConditionedBlock(before, width, config, attend, cross)

        self.down = nn.ModuleList()
        for level in range(last + 1):
            for _ in range(config.res_blocks):
                self.down.append(block(channels, level))
                channels = config.channels * config.channel_mult[level]
                skips.append(channels)
            if level < last:
                self.down.append(nn.Conv2d(channels, channels, 3, 2, 1))
                skips.append(channels)
        self.middle = nn.ModuleList([block(channels, last, True), block(channels, last, False)])
        self.up = nn.ModuleList()
        for level in reversed(range(last + 1)):
            for _ in range(config.res_blocks + 1):
                self.up.append(block(channels + skips.pop(), level))
                channels = config.channels * config.channel_mult[level]
            if level:
                self.up.append(Upsample(channels, channels, 3, 1, 1))

    def condition(self, a: torch.Tensor, b: torch.Tensor) -> Condition:
        a, b = (F.pixel_unshuffle(view, self.config.patch) for view in (a, b))
        return Condition(self.semantic(a), self.semantic(b), self.content(a, b))

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, seen: Condition) -> torch.Tensor:
        embedding = self.time_embed(self.sinusoids[timesteps])
        noisy = self.noisy(F.pixel_unshuffle(x, self.config.patch))
        h = self.head(torch.cat([seen.content, noisy], 1))
        skips = [h]
        for layer in self.down:
            conditions = (embedding, seen) if isinstance(layer, ConditionedBlock) else ()
            h = layer(h, *conditions)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding, seen)
        for layer in self.up:
            if isinstance(layer, ConditionedBlock):
                h = layer(torch.cat([h, skips.pop()], 1), embedding, seen)
            else:
                h = layer(h)
        h = F.pixel_shuffle(self.tail(h), self.config.patch)
        if self.config.prediction == "noise":
            return h
        a = self.alphas_bar[timesteps].view(-1, 1, 1, 1)
        return a.sqrt() * h.float() + (1.0 - a).sqrt() * x
