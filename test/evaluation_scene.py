"""Tiny bags and an engine that needs no model."""

import numpy as np
from bag_recording import MS, START_NS, Recording
from made_bags import ReferenceFusion

from irvis_fusion_core.errors import EngineError

HEIGHT, WIDTH = 72, 96


class MaximumEngine(ReferenceFusion):
    """The pixel-wise maximum, as an engine; `fails_at` raises at that image."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.fails_at = fails_at

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        if len(self.pairs) == self.fails_at:
            raise EngineError("expected the engine to run, found that it failed on purpose")
        return super().fuse_frame(ir, vis, order)

    def describe(self):
        return {"engine": "maximum", "model": "none"}


def scene(number):
    """A walker on a gradient: IR uint8 HxW, visible uint8 HxWx3 BGR."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(number).integers(0, 6, (HEIGHT, WIDTH))
    vis = np.dstack([y, x, (x + y) // 2]).astype(np.uint8) + noise[..., None].astype(np.uint8)
    ir = (20 + noise).astype(np.uint8)
    ir[20:50, 10 + number : 20 + number] = 220
    return ir, vis


def write_bag(path, frames=12, ir_ms=0, sizes=None, storage="mcap"):
    """Both cameras at 30 Hz; thermal stamps `ir_ms` after the visible ones."""
    recording = Recording(path, storage)
    for number in range(frames):
        stamp_ns = START_NS + number * 33 * MS
        ir, vis = scene(number)
        if sizes and number >= sizes:
            vis = vis[:64]
        recording.image("/ir/image_raw", stamp_ns + ir_ms * MS, ir, "mono8", stamp_ns)
        recording.image("/vis/image_raw", stamp_ns, vis, "bgr8", stamp_ns + MS)
    recording.text("/chatter", START_NS, "no image")
    return recording.write()
