"""The U-Net of guided-diffusion (Dhariwal and Nichol, arXiv 2105.05233), and small ones like it.

`PUBLISHED` is the configuration of the published ``256x256_diffusion_uncond.pt``, which loads by
its own key names. A small network has fewer channels, one of them in and out (luminance), and
``patch``, a space-to-depth stem that makes everything ``patch * patch`` times cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import ConfigurationError
from training.teachers.diffusion import linear_schedule


@dataclass(frozen=True)
class UNetConfig:
    """The anatomy of a network.

    Args:
        learned_variance: The network gives a variance after the noise, twice the channels out.
        model_channels: Width at the top; each level has `channel_mult` times as many.
        attention_at: Reductions (1, 2, 4 ...) at which self-attention is used.
        patch: Side of the pixel blocks that become channels before the first convolution.
        t_below: It was trained at timesteps below this: 1000 is any noise, 150 little noise.
    """

    in_channels: int = 1
    learned_variance: bool = False
    model_channels: int = 32
    res_blocks: int = 1
    channel_mult: tuple[int, ...] = (1, 2, 2)
    attention_at: tuple[int, ...] = (4,)
    head_channels: int = 32
    dropout: float = 0.0
    groups: int = 16
    patch: int = 2
    t_below: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.t_below <= 1000:
            raise ConfigurationError(f"expected t_below between 1 and 1000, found {self.t_below}")
        if any(self.model_channels * mult % self.groups for mult in self.channel_mult):
            raise ConfigurationError(
                f"expected widths that are multiples of groups={self.groups}, found "
                f"model_channels={self.model_channels} times {self.channel_mult}"
            )


PUBLISHED = UNetConfig(
    in_channels=3,
    learned_variance=True,
    model_channels=256,
    res_blocks=2,
    channel_mult=(1, 1, 2, 2, 4, 4),
    attention_at=(8, 16, 32),
    head_channels=64,
    groups=32,
    patch=1,
)
SMALL = UNetConfig()


def timestep_embedding(timesteps: torch.Tensor, channels: int) -> torch.Tensor:
    """Return cosines, then sines, of the timestep: [N] -> [N, channels]."""
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.cos(), angles.sin()], 1)


def _zeroed(layer: nn.Module) -> nn.Module:
    """Zero a layer: a residual branch that begins as the identity trains more steadily."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResBlock(nn.Module):
    """Two convolutions; the time embedding scales and shifts in between. May change the size.

    Args:
        resize: ``down`` halves the size, ``up`` doubles it.
    """

    def __init__(
        self, channels_in: int, channels_out: int, config: UNetConfig, resize: str = ""
    ) -> None:
        super().__init__()
        self.resize = resize
        self.in_layers = nn.Sequential(
            nn.GroupNorm(config.groups, channels_in),
            nn.SiLU(),
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
        )
        conditions = nn.Linear(4 * config.model_channels, 2 * channels_out)
        self.emb_layers = nn.Sequential(nn.SiLU(), conditions)
        self.out_layers = nn.Sequential(
            nn.GroupNorm(config.groups, channels_out),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            _zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1)),
        )
        same = channels_in == channels_out
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        h = self.in_layers[1](self.in_layers[0](x))
        h, x = (_resize(y, self.resize) for y in (h, x))
        h = self.in_layers[2](h)
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, 1)
        h = self.out_layers[0](h) * (1.0 + scale) + shift
        return self.skip_connection(x) + self.out_layers[1:](h)


def _resize(x: torch.Tensor, how: str) -> torch.Tensor:
    if how == "down":
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=2.0, mode="nearest") if how == "up" else x


class Attention(nn.Module):
    """Self-attention over all places; `qkv` holds query, key and value head by head."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        if channels % config.head_channels:
            raise ConfigurationError(
                f"expected a width that is a multiple of head_channels={config.head_channels} "
                f"where attention is, found {channels}"
            )
        self.heads = channels // config.head_channels
        self.norm = nn.GroupNorm(config.groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        flat = x.flatten(2)
        packed = self.qkv(self.norm(flat)).view(batch, self.heads, 3, -1, height * width)
        q, k, v = packed.transpose(3, 4).unbind(2)
        seen = F.scaled_dot_product_attention(q, k, v)
        seen = self.proj_out(seen.transpose(2, 3).reshape(batch, channels, -1))
        return (flat + seen).view_as(x)


class Stage(nn.Sequential):
    """Layers in a row, of which the residual blocks are given the time embedding."""

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    """Guess the noise in an image.

    ``forward(x, timesteps)``: x float N x in_channels x H x W, H and W multiples of `multiple`;
    timesteps int64 [N], 0..999. Gives the noise, N x in_channels x H x W, and with
    ``learned_variance`` as many channels more.

    Args:
        given: Channels of x after those of the image, which are no part of the result.
    """

    def __init__(self, config: UNetConfig, given: int = 0) -> None:
        super().__init__()
        self.config = config
        self.multiple = config.patch * 2 ** (len(config.channel_mult) - 1)
        width = config.model_channels
        pixels = config.in_channels * config.patch**2
        self.time_embed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width)
        )
        channels = width * config.channel_mult[0]
        last = len(config.channel_mult) - 1
        first = nn.Conv2d(pixels + given * config.patch**2, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([Stage(first)])
        skips = [channels]
        for level, mult in enumerate(config.channel_mult):
            for _ in range(config.res_blocks):
                self.input_blocks.append(Stage(*self._layers(channels, level)))
                channels = mult * width
                skips.append(channels)
            if level < last:
                self.input_blocks.append(Stage(ResBlock(channels, channels, config, "down")))
                skips.append(channels)
        self.middle_block = Stage(
            ResBlock(channels, channels, config),
            Attention(channels, config),
            ResBlock(channels, channels, config),
        )
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(last + 1)):
            for block in range(config.res_blocks + 1):
                layers = self._layers(channels + skips.pop(), level)
                channels = config.channel_mult[level] * width
                if level and block == config.res_blocks:
                    layers.append(ResBlock(channels, channels, config, "up"))
                self.output_blocks.append(Stage(*layers))
        outputs = pixels * (2 if config.learned_variance else 1)
        self.out = nn.Sequential(
            nn.GroupNorm(config.groups, channels),
            nn.SiLU(),
            _zeroed(nn.Conv2d(channels, outputs, 3, padding=1)),
        )

    def _layers(self, channels_in: int, level: int) -> list[nn.Module]:
        channels = self.config.channel_mult[level] * self.config.model_channels
        layers: list[nn.Module] = [ResBlock(channels_in, channels, self.config)]
        if 2**level in self.config.attention_at:
            layers.append(Attention(channels, self.config))
        return layers

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        embedding = self.time_embed(timestep_embedding(timesteps, self.config.model_channels))
        h = F.pixel_unshuffle(x, self.config.patch)
        skips = []
        for stage in self.input_blocks:
            h = stage(h, embedding)
            skips.append(h)
        h = self.middle_block(h, embedding)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], 1), embedding)
        return F.pixel_shuffle(self.out(h), self.config.patch)


class ConditionalUNet(nn.Module):
    """Guess the noise in a fused luminance of which both sources are given.

    ``condition(ir, y)``: N x 1 x H x W each, -1..1; H and W multiples of `multiple`.
    ``forward(x, timesteps, condition)``: N x 1 x H x W -> the same.

    The U-Net gives the velocity (arXiv 2202.00512), less the share of it that the mean of both
    sources explains: a short training need not learn brightness.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        if (config.in_channels, config.learned_variance, config.t_below) != (1, False, 1000):
            raise ConfigurationError(
                "expected luminance (in_channels 1), no learned_variance and all timesteps for "
                f"the conditional teacher, found {config.in_channels}, {config.learned_variance} "
                f"and --t_below {config.t_below}"
            )
        self.config = config
        self.unet = UNet(config, given=2)
        self.multiple = self.unet.multiple

    def condition(self, ir: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([ir, y], 1)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, seen: torch.Tensor
    ) -> torch.Tensor:
        levels = torch.from_numpy(linear_schedule().alphas_bar).float().to(x.device)
        a = levels[timesteps].view(-1, 1, 1, 1)
        velocity = self.unet(torch.cat([x, seen], 1), timesteps).float()
        velocity = velocity - (1.0 - a).sqrt() * seen.mean(1, keepdim=True)
        return a.sqrt() * velocity + (1.0 - a).sqrt() * x
