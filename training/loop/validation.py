"""How good a student is on whole validation images, compared with the trivial fusions.

The image is made as the node makes it (uint8 in, uint8 out) and scored by
`irvis_fusion_core.metrics`; `ssim_teacher`, `psnr_teacher` and `lpips_teacher` compare luminances.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from irvis_fusion_core.metrics import luminance, score_pair
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS
from irvis_fusion_core.network.pixel_student import PixelStudent
from training.evaluation.scores import merit, score_against_teacher

if TYPE_CHECKING:
    from training.evaluation.lpips import Lpips

METRICS = ("SCD", "VIF", "Qabf", "SSIM")

MONITORS = ("auto", "quality", *METRICS, "ssim_teacher", "psnr_teacher", "lpips_teacher")
"""The figures that can choose the best model. `quality` is ``2 SSIM + VIF + 3 Qabf``, see
`training.teachers.selection`."""

COMPARED = ("maximum", "mean")
"""The trivial fusions of a validation row."""


@torch.no_grad()
def fuse(student: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> np.ndarray:
    """Return uint8 RGB NxHxWx3 of a batch of `data.dataset` with three visible channels.

    In fp32 even where the training runs in half precision: figures that choose a model must not
    depend on it, and fp16 overflows.
    """
    pixels = PixelStudent(student)
    ir, vis = (batch[side].permute(0, 2, 3, 1) for side in ("ir", "vis"))
    with torch.autocast(ir.device.type, enabled=False):
        return pixels(ir, vis).cpu().numpy()


def score_fused(fused: np.ndarray, ir: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return `METRICS` and `quality` of one uint8 image against both sources, HxW each."""
    row = score_pair(fused, ir, y, names=METRICS)
    return {**row, "quality": merit(row)}


def score_batch(
    student: torch.nn.Module,
    batch: Mapping[str, torch.Tensor],
    lpips: Lpips | None = None,
    trivial: bool = False,
) -> dict[str, float]:
    """Return all figures of a batch of one image.

    Args:
        lpips: Add LPIPS to the figures against the teacher.
        trivial: Add the figures of the trivial fusions, as ``maximum/Qabf`` and so on.
    """
    fused = luminance(fuse(student, batch)[0])
    ir = batch["ir"][0, 0].cpu().numpy()
    y = luminance(batch["vis"][0].permute(1, 2, 0).cpu().numpy())
    row = score_fused(fused, ir, y)
    if bool(batch["has_teacher"][0]):
        teacher = batch["teacher"][0, 0].cpu().numpy()
        row.update(score_against_teacher(fused, teacher))
        if lpips is not None:
            with torch.autocast(batch["ir"].device.type, enabled=False):
                row["lpips_teacher"] = lpips(fused, teacher)
    for name in COMPARED if trivial else ():
        found = score_fused(TRIVIAL_FUSIONS[name](ir, y), ir, y)
        row.update({f"{name}/{metric}": value for metric, value in found.items()})
    return row


def chosen_monitor(monitor: str, has_teacher: bool) -> str:
    """Return the figure that ``auto`` stands for, or `monitor` itself."""
    if monitor != "auto":
        return monitor
    return "ssim_teacher" if has_teacher else "quality"


def is_better(monitor: str, new: float, old: float | None) -> bool:
    """Return whether `new` beats `old` (None: there was none); less is better for LPIPS only."""
    if old is None:
        return bool(np.isfinite(new))
    return new < old if monitor == "lpips_teacher" else new > old
