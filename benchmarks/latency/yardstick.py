"""The yardstick: a student of plain convolutions, as other distilled students are built.

Not one of ours and not trained: time does not depend on weights. Its anatomy follows the
published description of FusionProxy's student (arXiv 2605.06010): two encoders of plain 3x3
convolutions with 32, 64, 128 and 256 channels, group normalisation, SiLU and
squeeze-and-excitation, a U-Net decoder, and a sigmoid RGB head; 4.34 M parameters and 23.7 GMAC
at 512x512. What the description leaves open is chosen so that both figures come out within five
per cent, and below.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

CHANNELS = (32, 64, 128, 256)
"""Of the stages at 1/2, 1/4, 1/8 and 1/16 of the resolution."""


class ConvBlock(nn.Sequential):
    """3x3 convolution, group normalisation, SiLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1),
            nn.GroupNorm(8, channels_out),
            nn.SiLU(),
        )


class SqueezeExcitation(nn.Module):
    """Channel attention from the global mean (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // reduction, 1),
            nn.SiLU(),
            nn.Conv2d(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class Encoder(nn.Module):
    """N x 3 x H x W -> features at 1/2, 1/4, 1/8, 1/16."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(ConvBlock(before, c, 2), ConvBlock(c, c), SqueezeExcitation(c))
            for before, c in zip((3, *CHANNELS), CHANNELS)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class PlainStudent(nn.Module):
    """ir, vis: float N x 3 x H x W in 0..1, H and W multiples of 16 -> fused, the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.ir, self.vis = Encoder(), Encoder()
        # Skips are fused from both encoders side by side; the deepest features are added.
        self.skips = nn.ModuleList(ConvBlock(2 * c, c) for c in CHANNELS[:-1])
        self.deepest = ConvBlock(CHANNELS[-1], CHANNELS[-1])
        self.decoder = nn.ModuleList(
            nn.Sequential(ConvBlock(below + c, c), ConvBlock(c, c))
            for below, c in zip(CHANNELS[:0:-1], CHANNELS[-2::-1])
        )
        self.head = nn.Sequential(
            ConvBlock(CHANNELS[0], CHANNELS[0]),
            ConvBlock(CHANNELS[0], CHANNELS[0]),
            nn.Conv2d(CHANNELS[0], 3, 3, 1, 1),
        )

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        a, b = self.ir(ir), self.vis(vis)
        x = self.deepest(a[-1] + b[-1])
        skips = [skip(torch.cat(pair, 1)) for skip, *pair in zip(self.skips, a, b)]
        for block, skip in zip(self.decoder, reversed(skips)):
            x = block(torch.cat([_twice(x), skip], 1))
        return torch.sigmoid(self.head(_twice(x)))


def _twice(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class PixelYardstick:
    """The plain student between uint8 pixels, the way such students are run: torch, fp32."""

    def __init__(self, threads: int = 0, device: str = "cpu") -> None:
        if threads:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = PlainStudent().eval().to(device)
        self.device = device

    @torch.no_grad()
    def fuse(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """Fuse uint8 HxWx1 and HxWx3 into uint8 HxWx3."""
        planes = [
            torch.from_numpy(frame).to(self.device).permute(2, 0, 1)[None].float() / 255.0
            for frame in (ir, vis)
        ]
        height, width = vis.shape[:2]
        pad = (0, -width % 16, 0, -height % 16)
        a, b = (F.pad(plane, pad, mode="replicate") for plane in planes)
        fused = self.model(a.expand(-1, 3, -1, -1), b)[0, :, :height, :width]
        fused = (fused * 255.0).round().clamp(0, 255).to(torch.uint8)
        return fused.permute(1, 2, 0).contiguous().cpu().numpy()
