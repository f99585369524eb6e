"""What a thermal image looks like after parallax and the learned registration: almost in place.

Students that are to follow `registration.mode: learned` meet its errors in training.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from irvis_fusion_core.metrics import luminance
from irvis_fusion_core.registration.learned.learned_registration import LearnedRegistration
from irvis_fusion_core.registration.modes import NoRegistration
from training.data.displacement_fields import random_displacement

_CELL = 8


def residual_parallax(
    ir: np.ndarray,
    vis: np.ndarray,
    reach_px: float,
    random: np.random.Generator,
    boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Return the square thermal image, displaced at random and registered as the node does it.

    Args:
        ir: uint8 NxN, in place.
        vis: uint8 NxNx3 RGB.
        reach_px: Largest displacement, pixels (`training.data.displacement_fields`).
        boxes: float32 nx5 (`training.data.boxes`): objects that move in front of the rest.
    """
    size = len(ir)
    bodies = np.zeros((0, 4)) if boxes is None else boxes[boxes[:, 0] >= 0, 1:] * size
    source = random_displacement(random, size, _CELL, reach_px, bodies).source
    moved = cv2.remap(ir, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return _registration().refine(moved, None, luminance(vis), 0.0)[0]


def check_engine() -> None:
    """Raise EngineUnavailableError where no engine runs the network; compiles nothing."""
    _registration()


@functools.lru_cache(maxsize=1)
def _registration() -> LearnedRegistration:
    """Open the network in the process that uses it: an engine cannot be handed to workers."""
    return LearnedRegistration(NoRegistration(), smoothing_s=0.0, threads=1, in_background=False)
