"""Bags of two made-up cameras, and an engine whose every pixel is known."""

import cv2
import numpy as np
from bag_recording import START_NS

from irvis_fusion_core.image_files import write_image
from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_bag import CameraTiming, MadeCamera, PairSource, write_bag
from irvis_fusion_ros.bags.made_images import ImageForm

SIZE = (48, 64)


class ReferenceFusion:
    """`RealtimeFusion`'s methods around np.maximum."""

    def __init__(self):
        self.pairs, self.warmed, self.closed = [], [], 0

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        self.pairs.append((ir.copy(), vis.copy(), order))
        return np.maximum(ir[..., None], vis)

    def warm_up(self, height, width):
        self.warmed.append((height, width))

    def describe(self):
        return {"engine": "reference", "model": "maximum"}

    def close(self):
        self.closed += 1


def write_pairs(folder, count=6, size=SIZE, dtype=np.uint8):
    """`count` smooth pairs; 16-bit thermal ones are counts about 30 000."""
    height, width = size
    for number in range(count):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        vis = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        ir = cv2.resize(random.random((5, 5)), (width, height))
        ir = (ir * 255 if dtype == np.uint8 else 29000 + 2000 * ir).astype(dtype)
        write_image(str(folder / "IR" / f"{number:02d}.png"), ir)
        write_image(str(folder / "VIS" / f"{number:02d}.png"), vis)
    return str(folder)


def make_bag(path, pairs, seconds=1.0, storage="sqlite3", seed=0, loop_stamps=0.0, **changes):
    """A bag; `changes` are of CameraTiming and ImageForm, as ir_rate_hz=9.0, vis_codec="jpeg"."""
    cameras = []
    for name, encoding in (("ir", "mono8"), ("vis", "bgr8")):
        timing, form = {}, {"encoding": encoding}
        for key, value in changes.items():
            if key.startswith(name + "_"):
                field = key[len(name) + 1 :]
                (timing if field in CameraTiming._fields else form)[field] = value
        cameras.append(
            MadeCamera(
                name,
                f"/{name}/image_raw",
                f"{name}_frame",
                CameraTiming(**timing),
                ImageForm(**form),
                field_of_view_deg=60.0,
            )
        )
    source = PairSource(pairs, changes.get("vis_rate_hz", 30.0))
    with BagWriter(str(path), storage) as writer:
        for _ in write_bag(writer, source, cameras, seconds, START_NS, seed, loop_stamps):
            pass
    return str(path)


def read_whole(bag):
    """Every message of a bag: topic, time of recording, bytes."""
    names = [topic.name for topic in all_topics(str(bag))]
    return [(m.topic, m.recorded_ns, bytes(m.raw)) for m in read_messages(str(bag), (), names)]
