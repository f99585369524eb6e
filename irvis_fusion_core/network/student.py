"""The student network: two light encoders, cross-modal fusion at every scale, a U-Net decoder.

The data flow for an image of H x W; all sizes are relative to it::

    ir, luminance ── space-to-depth 4 ── IR encoder ─┐ 1/4, 1/8, 1/16
                                       VIS encoder ─┤
                                                    ├─ cross-modal fusion, each scale
                                                    └─ decoder 1/16 → 1/8 → 1/4 ── 8 controls
    fused luminance F = Y + g₊·max(IR − Y, 0) − g₋·max(Y − IR, 0) + r
                        + a₁·fine(IR) + a₂·medium(IR) + b₁·fine(Y) + b₂·medium(Y)
    fused colour      = F + k·min(F/Y, 3)·(RGB − Y)

The controls are predicted at a quarter of the resolution and interpolated, so no block shows; the
terms of the images themselves carry the edges. g₊ is how far to follow the thermal image where it
is brighter, g₋ where it is darker: (1, 0) is the pixel-wise maximum, (w, w) a weighted mean, so
both trivial fusions are in the search space. The gains a and b sharpen (above 0) or denoise (below
0) each image in two bands: `fine` is the image minus the means of 4 x 4 blocks, `medium` those
minus the means around. k = 1 keeps the visible saturation, because colour scales with luminance;
k = 0 is grey, for thermal light in the dark.
Costly layers run at a quarter of the resolution or less; the mix runs at full resolution, and in
fp32 even if the rest is in half precision.

Every operator exists in TensorRT 8.5 at ONNX opset 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import ConfigurationError, FrameError, expect_one_of
from irvis_fusion_core.network import blocks
from irvis_fusion_core.network.blocks import InvertedResidual, conv_norm, gain, gate

STEM = 4  # space-to-depth block of the stem: 16 pixels become 16 channels
MULTIPLE = 16  # heights and widths are padded to this: the stem and two halvings
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601, full range, for R, G, B
MAX_RESIDUAL = 0.25  # of full scale: the residual is a correction, not a second image
# Channels of the last convolution, and where each starts: at the pixel-wise maximum. The first
# three are gates (0..1), the others gains (-1..1).
CONTROLS = {
    "follow": 2.0,
    "recede": -2.0,
    "chroma": 2.9,
    "fine_ir": 0.0,
    "fine_vis": 0.0,
    "medium_ir": 0.0,
    "medium_vis": 0.0,
    "residual": 0.0,
}
LARGEST_CHROMA = 3.0  # times the visible chroma
DARKEST = 8.0 / 255.0  # luminance below which chroma is noise and is not scaled up further


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


class Enlarge(nn.Module):
    """Interpolate N x 1 x H/4 x W/4 between block centres: N x 16 x H/4 x W/4, always fp32.

    The channels are the pixels of each block, as `F.pixel_unshuffle` orders them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ramps", blocks.bilinear_weights(STEM), persistent=False)

    def forward(self, coarse: torch.Tensor) -> torch.Tensor:
        coarse = F.pad(coarse.float(), (1, 1, 1, 1), mode="replicate")
        return F.conv2d(coarse, self.ramps.float())


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
        self.controls = nn.Conv2d(size.head_channels, len(CONTROLS), 1)
        self.enlarge = Enlarge()
        self.variant = next((k for k, v in SIZES.items() if v == size), "custom")
        nn.init.normal_(self.controls.weight, std=1e-3)
        self.controls.bias.data.copy_(torch.tensor(list(CONTROLS.values())))

    def fuse_luminance(
        self, ir: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Return the change of luminance, the chroma control, and the fused features.

        Args:
            ir: N x 1 x H x W, 0..1; H and W multiples of `MULTIPLE`.
            y: visible luminance, same shape and range.

        Returns:
            Change of luminance, N x 1 x H x W fp32, unclipped; k of the module's docstring, 0..1,
            same shape; features at 1/4, 1/8, 1/16.
        """
        change, chroma, features = self.fuse_blocks(
            F.pixel_unshuffle(ir, STEM), F.pixel_unshuffle(y, STEM)
        )
        return F.pixel_shuffle(change, STEM), F.pixel_shuffle(chroma, STEM), features

    def fuse_blocks(
        self, ir: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """`fuse_luminance` on images in blocks (`F.pixel_unshuffle`): N x 16 x H/4 x W/4."""
        dtype = self.controls.weight.dtype
        ir_features = self.ir_encoder(ir.to(dtype))
        vis_features = self.vis_encoder(y.to(dtype))
        features = [fuse(a, b) for fuse, a, b in zip(self.fusions, ir_features, vis_features)]
        x = torch.cat([self.decoder(features), ir.to(dtype), y.to(dtype)], 1)
        controls = self.controls(self.head_depthwise(self.head_mix(x))).float()
        follow, recede, chroma = gate(controls[:, :3]).split(1, dim=1)
        gains = gain(controls[:, 3:]).split(1, dim=1)
        fine_ir, fine_vis, medium_ir, medium_vis, residual = gains
        mean_ir, mean_y = (x.mean(1, keepdim=True) for x in (ir, y))
        # What is smooth is summed before it is enlarged: fewer passes over all pixels.
        smooth = (
            residual * MAX_RESIDUAL
            + medium_ir * (mean_ir - _around(mean_ir))
            + medium_vis * (mean_y - _around(mean_y))
            - fine_ir * mean_ir
            - fine_vis * mean_y
        )
        enlarge = self.enlarge
        difference = ir - y
        brighter = F.relu(difference)
        change = (
            enlarge(follow) * brighter
            - enlarge(recede) * (brighter - difference)
            + enlarge(fine_ir) * ir
            + enlarge(fine_vis) * y
            + enlarge(smooth)
        )
        return change, enlarge(chroma), features

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
        change, chroma, features = self.fuse_luminance(ir_padded, y_padded)
        change, chroma = (x[:, :, :height, :width] for x in (change, chroma))
        fused = (y + change).clamp(0.0, 1.0)
        if self.out_channels == 3:
            fused = (fused + chroma_scale(fused, y, chroma) * (vis - y)).clamp(0.0, 1.0)
        return (fused, features) if return_features else fused


def luminance(vis: torch.Tensor) -> torch.Tensor:
    """Return BT.601 luminance, N x 1 x H x W, of N x 3 x H x W RGB or of a single channel."""
    if vis.shape[1] == 1:
        return vis
    weights = torch.tensor(LUMA_WEIGHTS, dtype=vis.dtype, device=vis.device).view(1, 3, 1, 1)
    return (vis * weights).sum(1, keepdim=True)


def _around(means: torch.Tensor) -> torch.Tensor:
    """Return the mean of each block and its eight neighbours."""
    return F.avg_pool2d(means, 3, stride=1, padding=1, count_include_pad=False)


def chroma_scale(fused: torch.Tensor, y: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """Return the factor of the visible chroma, 0..`LARGEST_CHROMA`.

    Args:
        fused: fused luminance, 0..1.
        y: visible luminance.
        chroma: k of the module's docstring.
    """
    return chroma * (fused / y.clamp_min(DARKEST)).clamp_max(LARGEST_CHROMA)


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
    expect_one_of("variant", variant, SIZES)
    if in_channels not in (1, 3) or out_channels not in (1, 3) or out_channels > in_channels:
        raise ConfigurationError(
            "expected in_channels 1 or 3 and out_channels 1 or 3 with no more "
            f"outputs than inputs, found {in_channels} and {out_channels}"
        )
    return Student(SIZES[variant], in_channels, out_channels)
