"""The trivial fusions that every table shows, and that a method must beat.

The pixel-wise maximum beats most published networks on MI, VIF and Qabf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

import numpy as np


def mean_of(ir: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """Return the mean of two uint8 planes, rounded half up."""
    return ((ir.astype(np.uint16) + luma + 1) >> 1).astype(np.uint8)


TRIVIAL_FUSIONS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "maximum": np.maximum,
    "mean": mean_of,
    "visible": lambda ir, luma: luma,
    "IR": lambda ir, luma: ir,
}
"""Name -> function of two uint8 HxW planes, IR and visible luminance, to the fused luminance."""
