"""Images to look at while a student trains: infrared, visible, teacher, fused, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from irvis_fusion_core.network.student import luminance

GAP = 4
"""White pixels between images."""


def panel(
    batch: Mapping[str, torch.Tensor],
    fused: torch.Tensor,
    teacher: torch.Tensor | None = None,
    rows: int = 4,
) -> torch.Tensor:
    """Return uint8 3xHxW: a row for each sample, with IR, visible, teacher and fused.

    Args:
        fused: Luminance Nx1xHxW in grey levels; shown with the visible chroma.
        teacher: The same of the teacher; drawn black where a sample has none.
        rows: Samples to show at most.
    """
    vis = batch["vis"][:rows].float().expand(-1, 3, -1, -1)
    y = luminance(vis)
    columns = [batch["ir"][:rows].float().expand(-1, 3, -1, -1), vis]
    if teacher is not None:
        there = batch["has_teacher"][:rows].view(-1, 1, 1, 1)
        columns.append((vis + teacher[:rows].float() - y) * there)
    columns.append(vis + fused[:rows].float() - y)
    lines = [_joined([column[n] for column in columns], dim=2) for n in range(len(columns[0]))]
    return _joined(lines, dim=1).clamp(0, 255).round().to(torch.uint8).cpu()


def _joined(images: list[torch.Tensor], dim: int) -> torch.Tensor:
    shape = list(images[0].shape)
    shape[dim] = GAP
    gap = images[0].new_full(shape, 255.0)
    parts = [part for image in images for part in (image, gap)]
    return torch.cat(parts[:-1], dim=dim)
