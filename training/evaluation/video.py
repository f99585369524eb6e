"""Flicker of a fused video after its motion is taken out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.metrics import image_faults


def warped_flicker(
    fused: Sequence[np.ndarray], ir: Sequence[np.ndarray], y: Sequence[np.ndarray]
) -> float:
    """Return the mean change from frame to frame beyond both sources', in grey levels.

    Each frame's predecessor is moved to its place by the optical flow of the visible image.

    Args:
        fused, ir, y: Luminances of consecutive frames, uint8 H x W; at least two.
    """
    excess = []
    frames = list(zip(fused, ir, y))
    for before, now in zip(frames, frames[1:]):
        flow = image_faults.backward_flow(now[2], before[2])
        moved = [[image_faults.warped_to(a, flow), b] for a, b in zip(before, now)]
        excess.append(metrics.flicker(*moved))
    return float(np.mean(excess))
