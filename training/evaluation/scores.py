"""The figures of one image: against its sources, and against the teacher where there is one.

Everything is measured on 8-bit luminance, LPIPS too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

WEIGHTS = {"SSIM": 2.0, "VIF": 1.0, "Qabf": 3.0}
"""Of `merit`: the rule of Diff-IF (Yi et al., Information Fusion 2024), SSIM within 0..2."""
LARGEST_PSNR = 100.0
"""dB, of equal images: their error is 0, but means must stay finite."""

Row = dict[str, float | None]


def score(
    fused: np.ndarray, ir: np.ndarray, vis_y: np.ndarray, teacher: np.ndarray | None = None
) -> Row:
    """Return every metric by name; None where it cannot be computed.

    Takes uint8 HxW luminances; `fused` may be HxWx3 RGB.
    """
    y = metrics.luminance(fused)
    row: Row = dict(metrics.score_pair(y, ir, vis_y, SOURCE_METRICS))
    row.update(dict.fromkeys(TEACHER_METRICS))
    if teacher is not None:
        row.update(score_against_teacher(y, teacher))
    return row


def score_against_teacher(fused: np.ndarray, teacher: np.ndarray) -> dict[str, float]:
    """Return SSIM and PSNR (dB, at most `LARGEST_PSNR`) of two HxW luminances, grey levels.

    The mean of an ensemble has fractions of levels.
    """
    f, t = fused.astype(np.float64), teacher.astype(np.float64)
    error = float(np.mean((f - t) ** 2))
    return {
        "ssim_teacher": ssim_mean(f, t, t, 255.0),
        "psnr_teacher": min(LARGEST_PSNR, float(10.0 * np.log10(255.0**2 / max(error, 1e-9)))),
    }


def merit(row: Mapping[str, float]) -> float:
    """Return 2 SSIM + VIF + 3 Qabf."""
    return sum(weight * row[name] for name, weight in WEIGHTS.items())


def best_of(
    images: Mapping[str, np.ndarray], ir: np.ndarray, vis: np.ndarray
) -> tuple[str, dict[str, float]]:
    """Return the name of the fused image of the highest merit (the first of equals), and merits.

    Takes uint8 images, grey or RGB, of at least 41x41 pixels.
    """
    merits = {k: merit(metrics.score_pair(v, ir, vis, WEIGHTS)) for k, v in images.items()}
    return max(merits, key=lambda name: merits[name]), merits


def teacher_of(samples: np.ndarray) -> np.ndarray | None:
    """Return the rounded mean of uint8 kxHxW samples of the teacher; None where k is 0."""
    if len(samples) == 0:
        return None
    return np.rint(samples.mean(0)).astype(np.uint8)


def means(rows: Sequence[Row]) -> Row:
    """Return the mean of every metric over the images that have it; None where none has."""
    columns = {n: [v for row in rows if (v := row[n]) is not None] for n in METRICS}
    return {name: float(np.mean(found)) if found else None for name, found in columns.items()}
