"""Image operations of both teachers: colour, padding, seeds, divergence, ensembles."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.network.student import luminance

BLOCK = 8  # side of the blocks over which a sample is compared with its sources, pixels
DIVERGED_AT = 0.1  # mean distance of a failed sample's blocks from both sources' range, 0..1


def check_pair(ir: torch.Tensor, vis: torch.Tensor) -> None:
    """Raise FrameError where `ir` and `vis` are not N x 1 x H x W and N x 3 x H x W."""
    if ir.dim() != 4 or ir.shape[1] != 1 or vis.shape != (len(ir), 3, *ir.shape[2:]):
        raise FrameError(
            f"expected ir N x 1 x H x W and vis N x 3 x H x W of one size, found "
            f"{tuple(ir.shape)} and {tuple(vis.shape)}; bring ir to the visible image's size"
        )


def restore_colour(fused: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return luminance N x 1 x H x W with the chroma of `vis`: N x 3 x H x W in 0..1.

    With BT.601 full-range Cb and Cr held, R, G and B change as much as the luminance does.
    """
    return (vis + (fused - luminance(vis))).clamp(0.0, 1.0)


def pad(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Mirror the last rows and columns until both sides are multiples of `multiple`.

    Images too small to be mirrored that far repeat their edge.
    """
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    if not bottom and not right:
        return x
    mirrored = bottom < x.shape[2] and right < x.shape[3]
    return F.pad(x, (0, right, 0, bottom), mode="reflect" if mirrored else "replicate")


def seed_of(name: str, sample: int, seed: int = 0) -> int:
    """Return a seed that depends on the pair's name and the sample only."""
    digest = hashlib.sha256(f"{seed}/{name}/{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1  # a generator's seed is a signed 64-bit


def diverged(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> list[bool]:
    """Return which samples, N x 1 x H x W in 0..1 as `ir`, are no fusion of their sources.

    They hold values that are not finite, or their brightness over blocks of 8x8 lies outside the
    range of both sources by a tenth of full scale on average.
    """
    outside = _excess(fused, ir, vis).abs().mean((1, 2, 3))
    # A NaN makes its whole sample's mean NaN, infinity makes it infinite.
    return (~(outside <= DIVERGED_AT)).tolist()


def hold_brightness(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Bring the brightness of every 8x8 pixels into the range of both sources; texture stays.

    A small prior restores structure before it learns how bright a night is. Shapes as `diverged`.
    """
    excess = _excess(fused, ir, vis)
    height, width = fused.shape[2:]
    whole = tuple(BLOCK * blocks for blocks in excess.shape[2:])
    smooth = F.interpolate(excess, whole, mode="bilinear", align_corners=False)
    return (fused - smooth[:, :, :height, :width]).clamp(0.0, 1.0)


def _excess(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return how far the means of 8x8 pixels lie above (or below: negative) both sources'."""
    f, a, b = (
        F.avg_pool2d(x, BLOCK, ceil_mode=True, count_include_pad=False)
        for x in (fused, ir, luminance(vis))
    )
    return f - f.clamp(torch.minimum(a, b), torch.maximum(a, b))
