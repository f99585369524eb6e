"""What is odd about a message is named, once each, and what can be used is used."""

import types

import cv2
import numpy as np
import pytest
from message_builders import compressed, from_array

from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frames import VisFrame
from irvis_fusion_ros.pipeline.message_checks import MessageChecks

NS = 1_000_000_000


class Bench:
    """Checks whose notes are kept."""

    def __init__(self, now_s=100.0):
        self.notes = []
        note = lambda *note: self.notes.append(note)  # noqa: E731
        self.checks = MessageChecks(note, lambda: round(now_s * NS))

    def vis(self, message):
        return self.checks.vis(VisFrame(1, message, None, 0, 7))

    def kinds(self):
        return [kind for kind, _ in self.notes]


def stamped(message, stamp_s):
    ns = round(stamp_s * NS)
    message.header.stamp = types.SimpleNamespace(sec=ns // NS, nanosec=ns % NS)
    return message


def rgb(height=4, width=6):
    return from_array("rgb8", np.arange(height * width * 3, dtype=np.uint8).reshape(height, -1, 3))


def test_a_sound_message_is_viewed_once_and_noted_never():
    bench = Bench()
    message = stamped(rgb(), 99.5)
    frame, refused = bench.vis(message)
    assert refused is None and bench.notes == []
    assert (frame.stamp_ns, frame.arrived_ns, frame.number) == (round(99.5 * NS), 7, 1)
    assert np.shares_memory(frame.pixels, np.frombuffer(message.data, np.uint8))
    assert bench.checks.sizes == {"vis": (4, 6)}


def test_stamps_that_are_zero_ahead_or_behind_are_named():
    bench = Bench()
    for stamp_s in (0.0, 99.0, 98.0, 102.0):
        bench.vis(stamped(rgb(), stamp_s))
    assert bench.kinds() == [
        "vis: zero stamp",
        "vis: stamp went back",
        "vis: stamp from the future",
    ]
    assert "1.000 s" in bench.notes[1][1] and "2.000 s ahead" in bench.notes[2][1]
    bench.checks.forget_stamps()
    bench.vis(stamped(rgb(), 5.0))
    assert len(bench.notes) == 3


def test_a_size_that_changes_is_named():
    bench = Bench()
    for height, width in ((4, 6), (4, 6), (8, 6)):
        bench.vis(stamped(rgb(height, width), 99.0))
    assert bench.notes == [("vis: size changed", "from 6x4 to 6x8")]


@pytest.mark.parametrize("kind", ["short_data", "wrong_step", "zero_size"])
def test_a_message_that_is_no_image_is_refused_by_kind(kind):
    bench, message = Bench(), stamped(rgb(), 99.0)
    if kind == "short_data":
        message.data = message.data[:-1]
    elif kind == "wrong_step":
        message.step = 5
    else:
        message.height = 0
    frame, refused = bench.vis(message)
    assert refused == kind and bench.kinds() == ["vis: " + kind]
    assert frame.pixels is None and frame.stamp_ns == 99 * NS


def test_an_unknown_encoding_is_sound_unless_it_is_empty():
    bench, message = Bench(), stamped(rgb(), 99.0)
    message.encoding = "jpeg2000_planes"
    frame, refused = bench.vis(message)
    assert refused is None and frame.pixels is None
    message.data = message.data[:0]
    assert bench.vis(message)[1] == "unknown_encoding"


def test_a_compressed_message_has_its_pixels_and_its_size():
    bench = Bench()
    bgr = np.full((4, 6, 3), (10, 20, 30), np.uint8)
    coded = cv2.imencode(".png", bgr)[1].tobytes()
    frame, refused = bench.vis(stamped(compressed(coded, "rgb8; png compressed bgr8"), 99.0))
    assert refused is None and bench.checks.sizes["vis"] == (4, 6)
    assert np.array_equal(frame.pixels, bgr)
    frame, refused = bench.vis(stamped(compressed(coded[:-20], "png"), 99.0))
    assert refused == "undecodable" and frame.pixels is None and frame.stamp_ns == 99 * 10**9


def test_images_beyond_the_largest_size_are_refused_and_named():
    bench = Bench()
    bench.checks.live.current = Settings.of({"max_pixels": 4 * 6})
    assert bench.vis(stamped(rgb(4, 6), 99.0))[1] is None
    assert bench.checks.ir(stamped(from_array("mono8", np.zeros((4, 6), np.uint8)), 99.0))
    assert bench.notes == []
    assert bench.vis(stamped(rgb(5, 6), 99.0))[1] == "too_large"
    assert bench.checks.ir(stamped(from_array("mono8", np.zeros((5, 6), np.uint8)), 99.0)) is None
    coded = cv2.imencode(".png", np.zeros((5, 6), np.uint8))[1].tobytes()
    assert bench.checks.ir(stamped(compressed(coded, "png"), 99.0)) is None
    assert [kind for kind, _ in bench.notes] == [f"{s}: too_large" for s in ("vis", "ir", "ir")]
    assert all("max_pixels" in text for _, text in bench.notes)


def test_thermal_frames_are_numbered_and_bad_values_named():
    bench = Bench()
    heat = np.full((4, 6), 20.0, np.float32)
    first = bench.checks.ir(stamped(from_array("32FC1", heat), 99.0))
    heat[1, 2:4] = np.nan, np.inf
    second = bench.checks.ir(stamped(from_array("32FC1", heat), 99.1))
    assert (first.number, second.number) == (1, 2)
    assert bench.notes == [("ir: not_finite", "NaN or infinity in 2 of 24 pixels")]
    broken = stamped(from_array("32FC1", heat), 99.2)
    broken.data = broken.data[:-1]
    assert bench.checks.ir(broken) is None and bench.kinds()[-1] == "ir: short_data"
