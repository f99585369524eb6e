"""The trivial fusions that every table shows: what a method has to beat to be worth its time.

The pixel-wise maximum beats most published networks on MI, VIF and Qabf.
"""

from __future__ import annotations

from typing import Callable, Dict

import numpy as np


def _mean(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    # Rounded half up, without leaving 16 bits.
    return ((ir.astype(np.uint16) + vis + 1) >> 1).astype(np.uint8)


REFERENCES: Dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "visible alone": lambda ir, vis: vis,
    "IR alone": lambda ir, vis: ir,
    "mean": _mean,
    "maximum": np.maximum,
}
"""Name -> function of two uint8 HxW planes, IR and visible luminance, to the fused luminance."""
