"""Bags for tests, message by message; written by the writer that `make_bag` uses."""

import importlib.util
import types

import numpy as np
import pytest

from irvis_fusion_ros.bags.bag_writer import STORAGES, BagWriter
from irvis_fusion_ros.bags.made_images import ImageForm, image_message, make_header

__all__ = ["STORAGES", "Recording", "needs_rosbags", "numbered_image", "street"]

needs_rosbags = pytest.mark.skipif(
    importlib.util.find_spec("rosbags") is None, reason="needs rosbags: pip install '.[bag]'"
)
MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


class Recording:
    """Writes one bag; frames are (topic, stamp_ns, pixels, encoding) in order of recording."""

    def __init__(self, path, storage="sqlite3"):
        self.path, self.storage = path, storage
        self.frames = []

    def image(self, topic, stamp_ns, pixels, encoding, recorded_ns=None, **fields):
        message = image_message(pixels, ImageForm(encoding), stamp_ns, "camera")
        vars(message).update(fields)
        self.frames.append((topic, recorded_ns or stamp_ns, message, IMAGE))

    def compressed(self, topic, stamp_ns, data, text):
        message = types.SimpleNamespace(
            header=make_header(stamp_ns, "camera"),
            format=text,
            data=np.frombuffer(data, np.uint8),
        )
        self.frames.append((topic, stamp_ns, message, COMPRESSED))

    def text(self, topic, stamp_ns, words):
        message = types.SimpleNamespace(data=words)
        self.frames.append((topic, stamp_ns, message, "std_msgs/msg/String"))

    def write(self):
        with BagWriter(self.path, self.storage) as writer:
            for topic, recorded_ns, message, kind in self.frames:
                writer.write_message(topic, kind, recorded_ns, message)
        return str(self.path)


def numbered_image(number, height=24, width=32, channels=3, dtype=np.uint8):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(number).integers(0, np.iinfo(dtype).max, shape, dtype)


def street(path, storage="sqlite3", ir="/thermal/image_raw", vis="/front/image_raw", frames=6):
    """Visible at 30 Hz, thermal at 10 Hz 4 ms after every third visible frame, 16 bit, smaller."""
    recording = Recording(path, storage)
    for number in range(frames):
        stamp_ns = START_NS + number * 33 * MS
        recording.image(vis, stamp_ns, numbered_image(number), "bgr8")
        if number % 3 == 0:
            counts = numbered_image(number, 12, 16, 1, np.uint16)
            recording.image(ir, stamp_ns + 4 * MS, counts, "mono16")
    recording.text("/chatter", START_NS + frames * 33 * MS, "no image")
    return recording.write()
