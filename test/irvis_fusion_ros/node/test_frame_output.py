"""What goes out for a visible frame, once and in order."""

import copy
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_builders import compressed, from_array, serialized

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_encodings import output_encoding
from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.node.frame_output import FrameOutput, Publishers
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.frames import VisFrame
from irvis_fusion_ros.pipeline.pair_fuser import Fused, Timings

NS = 1_000_000_000
NAMES = ["", "a", "abc", "camera", "optical", "vis_optical_frame"]


class Topic(list):
    """A publisher with one subscriber, which keeps what it was given."""

    publish = list.append

    def get_subscription_count(self):
        return 1


def frame_of(message, number=1):
    message = serialized(message)
    pixels = None
    if not image_messages.is_compressed(message):
        try:
            pixels = image_messages.view(message, check_finite=False)
        except image_messages.ImageMessageError:
            pixels = None
    return VisFrame(number, message, pixels, NS, 0)


CALIBRATION = CameraInfo(
    header=Header(frame_id="optical"), height=4, width=6, distortion_model="plumb_bob"
)
CALIBRATION.d, CALIBRATION.k, CALIBRATION.binning_x = [0.1, 0.2], np.arange(9.0), 3


class Exit:
    """A FrameOutput with topics that keep what they were given; frames 1 to 50 have arrived."""

    def __init__(self, compressed=True, **changes):
        self.image, self.info = Topic(), Topic()
        self.compressed = Topic() if compressed else None
        self.events = []
        live = LiveSettings(Settings.of(changes))

        def note(kind, text):
            self.events.append(kind)

        publishers = Publishers(self.image, self.info, self.compressed, live, note)
        publishers.set_camera_info(serialize_message(CALIBRATION))
        self.output = FrameOutput(publishers, live, note)
        while self.output.arrived() < 50:
            pass


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(NAMES)), max_size=6))
def test_the_calibration_goes_out_with_the_header_of_the_image(headers):
    """The reference: rclpy's own message with that header."""
    out = Exit(compressed=False)
    for number, (sec, frame_id) in enumerate(headers, 1):
        message = from_array("rgb8", np.zeros((4, 6, 3), np.uint8))
        message.header = Header(stamp=Time(sec=sec, nanosec=7), frame_id=frame_id)
        out.output.pass_through(frame_of(message, number), "test")
        expected = copy.copy(CALIBRATION)
        expected.header = message.header
        assert deserialize_message(out.info[-1], CameraInfo) == expected
    assert len(out.info) == len(headers)


def test_a_calibration_that_cannot_be_read_leaves_the_one_before():
    out = Exit(compressed=False)
    with pytest.raises(image_messages.ImageMessageError):
        out.output.publishers.set_camera_info(b"no message")
    out.output.pass_through(frame_of(from_array("mono8", np.zeros((4, 4), np.uint8))), "test")
    assert deserialize_message(out.info[0], CameraInfo).binning_x == 3


def test_a_calibration_that_comes_while_one_is_published_goes_out_next():
    """The executor takes it at any moment of the worker: here as the header is looked at."""
    out = Exit(compressed=False)
    later = copy.copy(CALIBRATION)
    later.binning_x = 4

    class Head(bytes):
        def __getitem__(self, part):
            out.output.publishers.set_camera_info(serialize_message(later))
            return super().__getitem__(part)

    for number in range(1, 5):
        frame = frame_of(from_array("mono8", np.zeros((4, 4), np.uint8)), number)
        if number == 2:
            frame.message.head = Head(frame.message.head)
        out.output.pass_through(frame, "test")
    found = [deserialize_message(raw, CameraInfo).binning_x for raw in out.info]
    assert found == [3, 3, 4, 4]


def test_rgb_goes_out_as_it_came():
    out = Exit()
    frame = frame_of(from_array("rgb8", np.full((4, 6, 3), 7, np.uint8)))
    out.output.pass_through(frame, "test")
    assert [id(sent) for sent in out.image] == [id(frame.message.raw)]
    assert out.output.outcomes.counts() == {"passed: test": 1}


def test_a_mosaic_goes_out_in_the_encoding_of_the_fused_images():
    out = Exit()
    message = from_array("bayer_rggb8", np.full((8, 8), 90, np.uint8))
    out.output.pass_through(frame_of(message), "test")
    (sent,) = out.image
    sent = SerializedImage(sent)
    assert sent.encoding == output_encoding("bayer_rggb8") == "rgb8"
    assert (image_messages.view(sent) == 90).all()


def test_an_encoding_unknown_here_goes_out_as_it_came_and_counts_as_passed():
    out = Exit()
    message = from_array("mono8", np.zeros((4, 4), np.uint8))
    message.encoding = "jpeg2000_planes"
    frame = frame_of(message)
    out.output.pass_through(frame, "test")
    assert [id(sent) for sent in out.image] == [id(frame.message.raw)]
    assert out.output.outcomes.counts() == {"passed: test": 1}
    assert not out.compressed and out.events == ["fused/image_raw/compressed: unknown_encoding"]


def test_a_broken_compressed_image_goes_out_on_no_topic():
    out = Exit()
    sound = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    out.output.pass_through(frame_of(compressed(sound, "jpeg")), "test")
    assert len(out.image) == len(out.compressed) == len(out.info) == 1
    out.output.pass_through(frame_of(compressed(b"no image", "jpeg"), 2), "test")
    assert len(out.image) == len(out.compressed) == len(out.info) == 1
    assert out.events == ["vis: undecodable"]
    assert out.output.outcomes.counts() == {"passed: test": 1, "dropped: undecodable": 1}


def test_calibration_goes_with_an_image_that_cannot_be_compressed():
    out = Exit()
    frame = frame_of(from_array("32FC1", np.zeros((4, 4), np.float32)))
    out.output.pass_through(frame, "test")
    assert out.image == [frame.message.raw] and not out.compressed
    assert [sent[: len(frame.message.head)] for sent in out.info] == [frame.message.head]
    assert out.output.outcomes.counts() == {"passed: test": 1}


def test_a_frame_that_the_middleware_refuses_is_counted():
    out = Exit(compressed=False)

    def publish(message):
        raise RuntimeError("the context is gone")

    out.image.publish = publish
    with pytest.raises(RuntimeError):
        out.output.pass_through(frame_of(from_array("mono8", np.zeros((4, 4), np.uint8))), "x")
    assert out.output.outcomes.counts() == {"dropped: not_published": 1}
    assert out.output.on_their_way == 49


def fused_as_it_came(frame):
    shown = (frame.pixels[..., 0], None, None, Timings(0, 0, 0, 0, 0), None)
    return Fused(frame.message.raw, frame.pixels, frame.pixels, "rgb", *shown)


CALLS = st.tuples(st.integers(1, 20), st.sampled_from(["fused", "pass", "drop"]))


@given(st.lists(CALLS, max_size=40))
def test_a_frame_leaves_once_never_after_a_later_one_and_is_counted_once(calls):
    """The reference: a list that takes only what is larger than its last element."""
    out = Exit(compressed=False)
    expected, counted, late = [], {}, 0
    for number, call in calls:
        frame = frame_of(from_array("rgb8", np.full((1, 1, 3), number, np.uint8)), number)
        is_next = number not in counted and (not expected or number > expected[-1])
        if call == "fused":
            image = fused_as_it_came(frame)
            assert out.output.let_out(frame, "fused", image) == is_next
            late += number in counted
        elif call == "pass":
            out.output.pass_through(frame, "test")
        else:
            out.output.drop("test", number)
        outcome = {"fused": "fused", "pass": "passed: test", "drop": "dropped: test"}[call]
        if call != "drop":
            expected += [number] if is_next else []
            outcome = outcome if is_next else "dropped: late"
        counted.setdefault(number, outcome)
    assert [SerializedImage(raw).data[0] for raw in out.image] == expected
    assert out.output.outcomes.counts() == dict(Counter(counted.values()))
    assert out.output.arrivals == len(counted) + out.output.on_their_way == 50
    assert out.output.late_results == late
