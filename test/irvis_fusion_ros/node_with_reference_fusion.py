"""The real node with a reference for an engine: fused = the brighter of both, pixel by pixel.

So a test can say of every output pixel what it has to be. `model` names a file that must exist.
`REFERENCE_OPEN_S` makes it slow to open and `REFERENCE_FUSE_S` slow to fuse; at frame
`REFERENCE_STALL_AT` (0: at every one) it hangs until the file `REFERENCE_STALL_UNTIL` exists. It
raises at every frame while the file `REFERENCE_FAIL_WHILE` exists.
"""

import os
import sys
import time

import numpy as np

from irvis_fusion_core.errors import ModelError
from irvis_fusion_ros.node.fusion_node import main


class ReferenceFusion:
    """`RealtimeFusion`'s methods around np.maximum."""

    def __init__(self, settings):
        """Open slowly when asked to; fail like the real one when the model is missing."""
        if settings.engine.model != "auto" and not os.path.exists(settings.engine.model):
            raise ModelError("no model file at {}".format(settings.engine.model))
        time.sleep(float(os.environ.get("REFERENCE_OPEN_S", "0")))
        self._fuse_s = float(os.environ.get("REFERENCE_FUSE_S", "0"))
        self._stall_at = int(os.environ.get("REFERENCE_STALL_AT", "-1"))
        self._stall_until = os.environ.get("REFERENCE_STALL_UNTIL", "")
        self._count = 0

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        """Return max(ir, vis)."""
        self._count += 1
        time.sleep(self._fuse_s)
        if os.path.exists(os.environ.get("REFERENCE_FAIL_WHILE", "")):
            raise RuntimeError("device lost")
        stalls = self._stall_at in (self._count, 0)
        while stalls and not os.path.exists(self._stall_until):
            time.sleep(0.01)
        return np.maximum(ir.reshape(ir.shape[0], ir.shape[1], 1), vis)

    def warm_up(self, height, width):
        """Need nothing."""

    def describe(self):
        """Return what it is."""
        return {"model": "reference"}

    def close(self):
        """Hold nothing."""


if __name__ == "__main__":
    sys.exit(main(None, lambda settings, progress: ReferenceFusion(settings)))
