"""How good a student is on whole validation images, beside the trivial fusions.

The image is made as the node makes it (uint8 in, uint8 out) and scored by
`irvis_fusion_core.metrics`; `ssim_teacher`, `psnr_teacher` and `lpips_teacher` compare luminances.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional

import numpy as np
import torch

from irvis_fusion_core.metrics import luminance, score_pair
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import Student
from training.losses.source_terms import ssim

METRICS = ("SCD", "VIF", "Qabf", "SSIM")

MONITORS = ("auto", "quality", *METRICS, "ssim_teacher", "psnr_teacher", "lpips_teacher")
"""What can choose the best model. `quality` is ``2 SSIM + VIF + 3 Qabf``, by which Diff-IF
(Information Fusion 2024) chooses among fusions."""

BASELINES = {
    "maximum": np.maximum,
    # Halves are rounded up, as a camera's averaging would.
    "mean": lambda ir, y: ((ir.astype(np.uint16) + y + 1) // 2).astype(np.uint8),
}


@torch.no_grad()
def fuse(student: Student, batch: Mapping[str, torch.Tensor]) -> np.ndarray:
    """uint8 RGB N x H x W x 3 of a batch of `data.dataset` with three visible channels."""
    pixels = PixelStudent(student)
    ir, vis = (batch[side].permute(0, 2, 3, 1) for side in ("ir", "vis"))
    return pixels(ir, vis).cpu().numpy()


def score_fused(fused: np.ndarray, ir: np.ndarray, y: np.ndarray) -> Dict[str, float]:
    """`METRICS` and `quality` of one uint8 image against both sources, H x W each."""
    row = score_pair(fused, ir, y, names=METRICS)
    row["quality"] = 2.0 * row["SSIM"] + row["VIF"] + 3.0 * row["Qabf"]
    return row


def score_against_teacher(
    fused: np.ndarray, teacher: np.ndarray, lpips: Optional[torch.nn.Module] = None
) -> Dict[str, float]:
    """SSIM, PSNR in dB and, where its network is given, LPIPS of two luminances H x W."""
    planes = [torch.from_numpy(p.astype(np.float32))[None, None] for p in (fused, teacher)]
    error = float((planes[0] - planes[1]).square().mean())
    row = {
        "ssim_teacher": float(ssim(*planes)),
        # Equal images have no noise; 100 dB stands for that, so that means stay finite.
        "psnr_teacher": min(100.0, 10.0 * float(np.log10(255.0**2 / max(error, 1e-9)))),
    }
    if lpips is not None:
        device = next(lpips.parameters()).device
        with torch.no_grad():
            pair = [(p / 255.0).expand(-1, 3, -1, -1).to(device) for p in planes]
            row["lpips_teacher"] = float(lpips(*pair))
    return row


def score_batch(
    student: Student,
    batch: Mapping[str, torch.Tensor],
    lpips: Optional[torch.nn.Module] = None,
    baselines: bool = False,
) -> Dict[str, float]:
    """All figures of a batch of one image.

    :param baselines: add those of the trivial fusions, as ``maximum/Qabf`` and so on.
    """
    fused = luminance(fuse(student, batch)[0])
    ir = batch["ir"][0, 0].cpu().numpy()
    y = luminance(batch["vis"][0].permute(1, 2, 0).cpu().numpy())
    row = score_fused(fused, ir, y)
    if bool(batch["has_teacher"][0]):
        teacher = batch["teacher"][0, 0].cpu().numpy()
        row.update(score_against_teacher(fused, teacher, lpips))
    if baselines:
        for name, baseline in BASELINES.items():
            found = score_fused(baseline(ir, y), ir, y)
            row.update({f"{name}/{metric}": value for metric, value in found.items()})
    return row


def is_better(monitor: str, new: float, old: Optional[float]) -> bool:
    """Whether `new` beats `old` (None: there was none); less is better for LPIPS only."""
    if old is None:
        return np.isfinite(new)
    return new < old if monitor == "lpips_teacher" else new > old
