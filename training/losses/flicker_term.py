"""Flicker: a fused video may change as much as its sources change, and no more.

`metrics.video_metrics.flicker` measures it on sequences. Training images are stills, so the next
frame is made: moved by a pixel or two, with drifted exposure and other noise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

REACH_PX = 2  # the next frame is shifted by at most this along each axis
# Standard deviations of each camera's drift (factor, grey levels) and noise (grey levels).
GAIN, OFFSET, NOISE = 0.03, 2.0, 1.0
BLOCK_PX = 8  # change is that of means over such blocks: noise averages out, flicker does not
LEAST_CHANGE = 0.1  # grey levels: a share of less would mean nothing


def a_moment_later(ir: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the next frame of each scene: whole grey levels 0..255, N x 1 x H x W.

    The same batch gives the same frames, so a resumed run repeats an unbroken one.
    """
    seed = int(ir.sum(dtype=torch.float64)) * 31 + int(y.sum(dtype=torch.float64))
    chance = torch.Generator().manual_seed(seed)
    shifts = torch.randint(-REACH_PX, REACH_PX + 1, (ir.shape[0], 2), generator=chance).tolist()
    found = []
    for image in (ir, y):
        drawn = torch.randn(ir.shape[0], 2, 1, 1, 1, generator=chance).to(image)
        noise = torch.randn(image.shape, generator=chance).to(image)
        moved = torch.stack([_shifted(p, *shift) for p, shift in zip(image, shifts)])
        moved = moved * (1.0 + GAIN * drawn[:, 0]) + OFFSET * drawn[:, 1] + NOISE * noise
        found.append(moved.round().clamp(0.0, 255.0))
    return found[0], found[1]


def _shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Return 1 x H x W moved by whole pixels; its border is repeated."""
    height, width = image.shape[1:]
    wide = F.pad(image[None], [REACH_PX] * 4, mode="replicate")[0]
    top, left = REACH_PX - down, REACH_PX - right
    return wide[:, top : top + height, left : left + width]


def unseen_change(
    fused: tuple[torch.Tensor, torch.Tensor],
    ir: tuple[torch.Tensor, torch.Tensor],
    y: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return the share of a fused video's change that neither source shows; 0 is steady.

    |dF| beyond max(|dIR|, |dY|), over the sources' change. Takes this frame and the next of each,
    N x 1 x H x W grey levels.
    """
    f, a, b = (_change(*frames) for frames in (fused, ir, y))
    shown = torch.maximum(a, b)
    excess = (f - shown).clamp_min(0.0).mean((1, 2, 3))
    return (excess / shown.mean((1, 2, 3)).clamp_min(LEAST_CHANGE)).mean()


def _change(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(after - before, BLOCK_PX).abs()
