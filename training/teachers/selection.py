"""Choose the best of several teachers for a pair: 2 SSIM + VIF + 3 Qabf of its mean image.

The rule of Diff-IF (Yi et al., Information Fusion 2024), SSIM in the published convention (0..2).
"""

from __future__ import annotations

import numpy as np

from irvis_fusion_core.metrics import score_pair

WEIGHTS = {"SSIM": 2.0, "VIF": 1.0, "Qabf": 3.0}


def merit(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Return 2 SSIM + VIF + 3 Qabf of uint8 images, grey or RGB, of at least 41x41 pixels."""
    row = score_pair(fused, ir, vis, WEIGHTS)
    return float(sum(weight * row[name] for name, weight in WEIGHTS.items()))


def choose(
    candidates: dict[str, np.ndarray], ir: np.ndarray, vis: np.ndarray
) -> tuple[str, dict[str, float]]:
    """Return the teacher of the highest merit (the first of equals), and the merits of all."""
    scores = {name: merit(image, ir, vis) for name, image in candidates.items()}
    return max(scores, key=lambda name: scores[name]), scores
