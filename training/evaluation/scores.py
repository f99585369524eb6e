"""The figures of one image: against its sources always, against the teacher where there is one.

Everything is measured on 8-bit luminance, LPIPS too, as `loop.validation` does while training.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.metrics.fidelity import ssim_mean

SOURCE_METRICS = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM", "SSIM255")
TEACHER_METRICS = ("ssim_teacher", "psnr_teacher", "lpips_teacher")
METRICS = SOURCE_METRICS + TEACHER_METRICS
CONVENTIONS = (
    "8-bit luminance, clamped, no stretch; EN in bits, MI in nats, SSIM 0..2 as the CDDFuse "
    "family prints it, SSIM255 the mean of both at range 255."
)

LARGEST_PSNR = 100.0
"""dB, of equal images: they have no noise, but means have to stay finite."""

Row = Dict[str, Optional[float]]


def score(
    fused: np.ndarray,
    ir: np.ndarray,
    vis_y: np.ndarray,
    teacher: Optional[np.ndarray] = None,
) -> Row:
    """Every metric by name; None where it cannot be had.

    :param fused, ir, vis_y, teacher: uint8 H x W luminance (`fused` may be colour).
    """
    y = metrics.luminance(fused)
    row: Row = dict(metrics.score_pair(y, ir, vis_y, SOURCE_METRICS))
    row.update(dict.fromkeys(TEACHER_METRICS))
    if teacher is not None:
        f, t = y.astype(np.float64), teacher.astype(np.float64)
        row["ssim_teacher"] = ssim_mean(f, t, t, 255.0)
        row["psnr_teacher"] = psnr(f, t)
    return row


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255, at most `LARGEST_PSNR`."""
    error = float(np.mean((x.astype(np.float64) - y) ** 2))
    return min(LARGEST_PSNR, float(10.0 * np.log10(255.0**2 / max(error, 1e-9))))


def perceptual_distance(lpips: Any, x: np.ndarray, y: np.ndarray) -> float:
    """LPIPS (`training.evaluation.lpips.Lpips`) of two uint8 H x W luminances."""
    import torch

    with torch.inference_mode():
        planes = [torch.from_numpy(p)[None, None].expand(-1, 3, -1, -1) / 255.0 for p in (x, y)]
        return float(lpips(*planes))


def teacher_of(samples: np.ndarray) -> Optional[np.ndarray]:
    """The image to compare with: uint8 k x H x W samples -> their rounded mean, or None."""
    if len(samples) == 0:
        return None
    return np.rint(samples.mean(0)).astype(np.uint8)


def means(rows: Iterable[Row]) -> Row:
    """The mean of every metric over the images that have it; None where none has."""
    rows = list(rows)
    result: Row = {}
    for name in METRICS:
        values: List[float] = [v for v in (row[name] for row in rows) if v is not None]
        result[name] = float(np.mean(values)) if values else None
    return result
