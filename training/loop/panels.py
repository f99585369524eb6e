"""Images to look at while a student trains: infrared, visible, teacher, fused, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

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
    # Samples x columns x 3xHxW, each with a gap below and on the right.
    grid = F.pad(torch.stack(columns, 1), (0, GAP, 0, GAP), value=255.0).permute(2, 0, 3, 1, 4)
    image = grid.flatten(3, 4).flatten(1, 2)[:, :-GAP, :-GAP]
    return image.clamp(0, 255).round().to(torch.uint8).cpu()
