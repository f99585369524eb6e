"""The student network: two light encoders, cross-modal fusion at every scale, a U-Net decoder.

The data flow for an image of H x W; all sizes are relative to it::

    ir, luminance ── space-to-depth 4 ── IR encoder ─┐ 1/4, 1/8, 1/16
                                       VIS encoder ─┤
                                                    ├─ cross-modal fusion, each scale
                                                    └─ decoder 1/16 → 1/8 → 1/4 ── head
    fused luminance = Y + g₊·max(IR − Y, 0) − g₋·max(Y − IR, 0)
                        + a·detail(IR) + b·detail(Y) + r                   (full resolution)

The head gives two gates, two gains and a small residual for every pixel. g₊ is how far to follow
the thermal image where it is brighter, g₋ where it is darker: (1, 0) is the pixel-wise maximum,
(w, w) a weighted mean, so both trivial fusions are in the search space. The gains add or remove
detail, the difference of each image from its local mean: with b = 1 lettering on a wall that is
brighter in the thermal image stays readable. Costly layers run at a quarter of the resolution or
less; only the last mix runs at full resolution, and in fp32 even if the rest is in half precision.

Luminance is fused and the visible chroma is kept: with constant BT.601 full-range Cb and Cr, a
change of luminance adds the same amount to R, G and B.

Every operator exists in TensorRT 8.5 at ONNX opset 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.network import blocks
from irvis_fusion_core.network.blocks import InvertedResidual, conv_norm, gain, gate

STEM = 4  # space-to-depth block of the stem: 16 pixels become 16 channels
MULTIPLE = 16  # heights and widths are padded to this: the stem and two halvings
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601, full range, for R, G, B
MAX_RESIDUAL = 0.25  # of full scale: the residual is a correction, not a second image
HEADS = ("follow", "recede", "keep_ir", "keep_vis", "residual")  # last convolutions of the mix


@dataclass(frozen=True)
class StudentSize:
    """Channels and blocks at 1/4, 1/8 and 1/16 of the resolution."""

    channels: tuple[int, int, int]
    blocks: tuple[int, int, int]
    expansion: int
    head_channels: int


SIZES: dict[str, StudentSize] = {
    # Multiples of 16 channels, the block size of AVX-512 and tensor cores.
    "nano": StudentSize(channels=(16, 32, 48), blocks=(1, 1, 1), expansion=2, head_channels=32),
    "small": StudentSize(channels=(32, 64, 80), blocks=(1, 2, 1), expansion=2, head_channels=64),
    "base": StudentSize(channels=(48, 80, 128), blocks=(1, 3, 3), expansion=4, head_channels=192),
}


def _blocks(
    channels: int, size: StudentSize, scale: int, excite: bool = True
) -> list[InvertedResidual]:
    """Return the blocks of one scale: 0, 1, 2 for 1/4, 1/8, 1/16."""
    count = size.blocks[scale]
    return [InvertedResidual(channels, channels, size.expansion, 1, excite) for _ in range(count)]


class Encoder(nn.Module):
    """One modality: 16 x H/4 x W/4 -> features at 1/4, 1/8 and 1/16."""

    def __init__(self, in_channels: int, size: StudentSize) -> None:
        super().__init__()
        c1, c2, c3 = size.channels
        self.stem = conv_norm(in_channels, c1, 3)
        # Squeeze-and-excitation only where pixels are few: at 1/4 it would cost a full pass.
        self.stage1 = nn.Sequential(*_blocks(c1, size, 0, excite=False))
        down = InvertedResidual(c1, c2, size.expansion, stride=2)
        self.stage2 = nn.Sequential(down, *_blocks(c2, size, 1))
        down = InvertedResidual(c2, c3, size.expansion, stride=2)
        self.stage3 = nn.Sequential(down, *_blocks(c3, size, 2))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x1 = self.stage1(self.stem(x))
        x2 = self.stage2(x1)
        return [x1, x2, self.stage3(x2)]


class CrossModalFusion(nn.Module):
    """Two modalities at one scale -> one: spatial cross-attention, then channel attention.

    Each modality's spatial weight is computed from both modalities; the mix passes
    squeeze-and-excitation.
    """

    def __init__(self, channels: int, excite: bool = True) -> None:
        super().__init__()
        self.look = conv_norm(2 * channels, 16)
        # Two one-channel convolutions: splitting one is slow on CPUs.
        self.attend_ir = nn.Conv2d(16, 1, 1)
        self.attend_vis = nn.Conv2d(16, 1, 1)
        self.mix = conv_norm(2 * channels, channels)
        self.excite = blocks.SqueezeExcite(channels) if excite else nn.Identity()

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        seen = self.look(torch.cat([ir, vis], 1))
        ir_weight = gate(self.attend_ir(seen))
        vis_weight = gate(self.attend_vis(seen))
        return self.excite(self.mix(torch.cat([ir * ir_weight, vis * vis_weight], 1)))


class Decoder(nn.Module):
    """U-Net decoder from 1/16 to 1/4, with the fused features of each scale as skips."""

    def __init__(self, size: StudentSize) -> None:
        super().__init__()
        c1, c2, c3 = size.channels
        self.up2 = conv_norm(c3, c2)
        self.refine2 = nn.Sequential(*_blocks(c2, size, 1))
        self.up1 = conv_norm(c2, c1)
        self.refine1 = nn.Sequential(*_blocks(c1, size, 0, excite=False))

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        x1, x2, x3 = features
        x2 = self.refine2(x2 + F.interpolate(self.up2(x3), scale_factor=2.0, mode="nearest"))
        return self.refine1(x1 + F.interpolate(self.up1(x2), scale_factor=2.0, mode="nearest"))


class Detail(nn.Module):
    """An image minus its local mean over about 12 pixels: N x 16 x H/4 x W/4 -> the same.

    The mean of 3 x 3 blocks is interpolated between their centres, so that no block shows. There
    are no weights, and the calculation is always fp32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ramps", blocks.bilinear_weights(STEM), persistent=False)

    def forward(self, blocks: torch.Tensor) -> torch.Tensor:
        mean = F.avg_pool2d(
            blocks.mean(1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
        )
        mean = F.pad(mean, (1, 1, 1, 1), mode="replicate")
        return blocks - F.conv2d(mean, self.ramps.to(blocks.dtype))


class Student(nn.Module):
    """Fuses an infrared and a visible image; see the module's docstring for the data flow.

    Args:
        size: widths and depths, one of `SIZES`.
        in_channels: 3 or 1, of both inputs. Of a 3-channel infrared image the first is read.
        out_channels: 3 (colour restored from the visible) or 1 (luminance).
    """

    def __init__(self, size: StudentSize, in_channels: int = 3, out_channels: int = 3) -> None:
        super().__init__()
        self.size, self.in_channels, self.out_channels = size, in_channels, out_channels
        pixels = STEM * STEM
        self.ir_encoder = Encoder(pixels, size)
        self.vis_encoder = Encoder(pixels, size)
        self.fusions = nn.ModuleList(
            [CrossModalFusion(c, excite=i > 0) for i, c in enumerate(size.channels)]
        )
        self.decoder = Decoder(size)
        c1 = size.channels[0]
        self.head_mix = conv_norm(c1 + 2 * pixels, size.head_channels)
        self.head_depthwise = conv_norm(
            size.head_channels, size.head_channels, 3, groups=size.head_channels
        )
        self.follow = nn.Conv2d(size.head_channels, pixels, 1)
        self.recede = nn.Conv2d(size.head_channels, pixels, 1)
        self.keep_ir = nn.Conv2d(size.head_channels, pixels, 1)
        self.keep_vis = nn.Conv2d(size.head_channels, pixels, 1)
        self.residual = nn.Conv2d(size.head_channels, pixels, 1)
        self.detail = Detail()
        self.variant = next((k for k, v in SIZES.items() if v == size), "custom")
        self._start_as_maximum()

    def _start_as_maximum(self) -> None:
        """Start near the pixel-wise maximum, the best trivial fusion."""
        starts = {"follow": 2.0, "recede": -2.0}
        for name, head in zip(HEADS, self.heads):
            nn.init.normal_(head.weight, std=1e-3)
            nn.init.constant_(head.bias, starts.get(name, 0.0))

    @property
    def heads(self) -> list[nn.Conv2d]:
        """The convolutions that `HEADS` names."""
        return [getattr(self, name) for name in HEADS]

    def luminance_change(
        self, ir: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the change of the visible luminance, and the fused features of each scale.

        Args:
            ir: N x 1 x H x W, 0..1; H and W multiples of `MULTIPLE`.
            y: visible luminance, same shape and range.

        Returns:
            Change of luminance, N x 1 x H x W fp32, unclipped; features at 1/4, 1/8, 1/16.
        """
        ir_blocks = F.pixel_unshuffle(ir, STEM)
        y_blocks = F.pixel_unshuffle(y, STEM)
        difference = ir_blocks - y_blocks
        brighter = F.relu(difference)
        darker = brighter - difference
        dtype = self.follow.weight.dtype
        ir_features = self.ir_encoder(ir_blocks.to(dtype))
        vis_features = self.vis_encoder(y_blocks.to(dtype))
        features = [fuse(a, b) for fuse, a, b in zip(self.fusions, ir_features, vis_features)]
        x = torch.cat([self.decoder(features), ir_blocks.to(dtype), y_blocks.to(dtype)], 1)
        x = self.head_depthwise(self.head_mix(x))
        change = (
            gate(self.follow(x).float()) * brighter
            - gate(self.recede(x).float()) * darker
            + gain(self.keep_ir(x).float()) * self.detail(ir_blocks)
            + gain(self.keep_vis(x).float()) * self.detail(y_blocks)
            + gain(self.residual(x).float()) * MAX_RESIDUAL
        )
        return F.pixel_shuffle(change, STEM), features

    def forward(
        self, ir: torch.Tensor, vis: torch.Tensor, return_features: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, list[torch.Tensor]]:
        """Fuse float images.

        Args:
            ir: N x in_channels x H x W, 0..1. Any H and W.
            vis: N x in_channels x H x W, 0..1, RGB when it has 3 channels.
            return_features: also give the fused features at 1/4, 1/8 and 1/16.

        Returns:
            N x out_channels x H x W, 0..1; with features a tuple (fused, [f4, f8, f16]).

        Raises:
            FrameError: the channels are not `in_channels`, or the sizes differ.
        """
        for name, x in (("ir", ir), ("vis", vis)):
            if x.dim() != 4 or x.shape[1] != self.in_channels:
                raise FrameError(
                    f"expected {name} as N x {self.in_channels} x H x W, found {tuple(x.shape)}; "
                    "convert it or create the student with other in_channels"
                )
        if ir.shape[2:] != vis.shape[2:]:
            raise FrameError(
                f"expected ir and vis of one size, found {tuple(ir.shape[2:])} and "
                f"{tuple(vis.shape[2:])}; bring ir to the visible image's size first"
            )
        y = luminance(vis)
        height, width = y.shape[2:]
        ir_padded, y_padded = (pad_to_multiple(x) for x in (ir[:, :1], y))
        change, features = self.luminance_change(ir_padded, y_padded)
        change = change[:, :, :height, :width]
        base = vis if self.out_channels == 3 else y
        fused = (base + change).clamp(0.0, 1.0)
        return (fused, features) if return_features else fused


def luminance(vis: torch.Tensor) -> torch.Tensor:
    """Return BT.601 luminance, N x 1 x H x W, of N x 3 x H x W RGB or of a single channel."""
    if vis.shape[1] == 1:
        return vis
    weights = torch.tensor(LUMA_WEIGHTS, dtype=vis.dtype, device=vis.device).view(1, 3, 1, 1)
    return (vis * weights).sum(1, keepdim=True)


def pad_to_multiple(x: torch.Tensor, multiple: int = MULTIPLE) -> torch.Tensor:
    """Repeat the last row and column until height and width are multiples of `multiple`."""
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def create_student_model(
    variant: str = "nano", in_channels: int = 3, out_channels: int = 3
) -> Student:
    """Create a student with new weights.

    Args:
        variant: `nano` (any CPU), `small` (Orin Nano, good CPUs), `base` (GPU, Jetson).

    Raises:
        ConfigurationError: an unknown variant, or channels other than 1 and 3.
    """
    if variant not in SIZES:
        raise ConfigurationError(
            f"expected a variant out of {', '.join(SIZES)}, found {variant!r}"
        )
    if in_channels not in (1, 3) or out_channels not in (1, 3) or out_channels > in_channels:
        raise ConfigurationError(
            "expected in_channels 1 or 3 and out_channels 1 or 3 with no more "
            f"outputs than inputs, found {in_channels} and {out_channels}"
        )
    return Student(SIZES[variant], in_channels, out_channels)
