"""The terms of the loss of the displacement network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from irvis_fusion_core.network.displacement import CELL, REACH, cell_places, sample

STAGE_SHARE = 0.7
"""Weight of a stage relative to the next one."""
ROBUST = 0.5
"""Exponent of the error: below 1, cells that cannot be found do not pull others to the mean."""
HIDDEN_WEIGHT = 0.1
"""Weight of cells that the thermal image does not show: they follow their surroundings."""
NEAR_PX = 1.0
"""A field within this of the truth, in pixels of the network's input, is to be trusted."""


def end_point_error(field: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the distance of two fields, N x 1 x h x w, pixels; smooth at 0."""
    return ((field - truth).square().sum(1, keepdim=True) + 1e-3).sqrt()


def field_term(
    fields: Sequence[torch.Tensor], truth: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Return the weighted mean error of all stages to the power `ROBUST`; the last counts most."""
    total = fields[0].new_zeros(())
    for number, field in enumerate(reversed(fields)):
        error = end_point_error(field, truth) ** ROBUST
        total = total + STAGE_SHARE**number * (weight * error).sum() / weight.sum().clamp_min(1.0)
    return total


def match_term(matches: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of the first matches with the true displacement.

    The truth counts for the displacements around it, by bilinear weights. Coarse cells on the edge
    of a body, and displacements out of reach, do not count.
    """
    mean, square = F.avg_pool2d(truth, 2), F.avg_pool2d(truth.square(), 2)
    spread = (square - mean.square()).sum(1, keepdim=True)
    cells = mean / CELL
    reached = (cells.abs() <= REACH).all(1, keepdim=True)
    kept = (F.avg_pool2d(weight, 2) == 1.0) & (spread < 1.0) & reached
    steps = torch.arange(-REACH, REACH + 1.0, device=truth.device)[None, :, None, None]
    across, down = ((1.0 - (cells[:, i : i + 1] - steps).abs()).clamp_min(0.0) for i in (0, 1))
    wanted = (down[:, :, None] * across[:, None]).flatten(1, 2)
    entropy = -(wanted * matches.log_softmax(1)).sum(1, keepdim=True)
    return (entropy * kept).sum() / kept.sum().clamp_min(1)


def edge_term(field: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean error of the steps between neighbouring cells, up to 2 pixels each.

    It keeps a field smooth where the truth is, and sharp at the edges of bodies.
    """
    total = field.new_zeros(())
    for axis in (2, 3):
        length = field.shape[axis] - 1
        found, wanted = (x.diff(dim=axis).clamp(-2.0, 2.0) for x in (field, truth))
        both = weight.narrow(axis, 0, length) * weight.narrow(axis, 1, length)
        total = total + ((found - wanted).abs() * both).mean()
    return total


def confidence_term(
    logit: torch.Tensor, field: torch.Tensor, truth: torch.Tensor, shown: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of the confidence: is the field near the truth, and shown."""
    near = (end_point_error(field.detach(), truth) < NEAR_PX) & shown
    return F.binary_cross_entropy_with_logits(logit, near.float())


def consistency_term(
    field: torch.Tensor,
    logit: torch.Tensor,
    plain: torch.Tensor,
    plain_logit: torch.Tensor,
    known: torch.Tensor,
    hidden: torch.Tensor,
) -> torch.Tensor:
    """Return how far a field is from the one of the undisplaced image plus the known one.

    So pairs that were never registered teach too (warp consistency, arXiv 2104.03308).

    Args:
        field: Of the displaced thermal image; `logit` its confidence.
        plain: Of the same image before; `plain_logit` its confidence.
        known: The displacement between the two.
        hidden: Cells that the displaced image does not show.
    """
    before = plain.detach()
    moved = before + sample(known, cell_places(known) + before / CELL)
    trust = (logit.sigmoid() * plain_logit.sigmoid()).detach() * (~hidden).float()
    return (trust * end_point_error(field, moved)).mean()
