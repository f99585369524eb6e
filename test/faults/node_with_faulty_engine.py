"""The node with the reference fusion, whose engine does what the file FAULTY_ENGINE says."""

import os
import sys
import time

import numpy as np
from node_with_reference_fusion import ReferenceFusion

from irvis_fusion_ros.node.fusion_node import main

RESULTS = {
    "half the size": lambda fused: fused[::2, ::2].copy(),
    "one channel": lambda fused: fused[..., 0].copy(),
    "NaN": lambda fused: np.full(fused.shape, np.nan, np.float32),
    "nothing": lambda fused: None,
    "text": lambda fused: "fused",
}


class FaultyFusion(ReferenceFusion):
    """Fails as it is told to, from one frame to the next."""

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        """Return max(ir, vis), or do what the file says."""
        fused = super().fuse_frame(ir, vis, order)
        try:
            with open(os.environ["FAULTY_ENGINE"], encoding="utf-8") as file:
                told = file.read()
        except FileNotFoundError:
            return fused
        if told == "raise":
            raise RuntimeError("device lost")
        if told == "out of memory":
            raise MemoryError
        if told == "exit":
            sys.exit("the library ends the process")
        if told == "write into the image":
            vis[:] = 0
        if told == "slow":
            time.sleep(0.2)
        while told == "hang" and os.path.exists(os.environ["FAULTY_ENGINE"]):
            time.sleep(0.02)
        return RESULTS.get(told, np.asarray)(fused)


if __name__ == "__main__":
    sys.exit(main(None, lambda settings, progress: FaultyFusion(settings)))
