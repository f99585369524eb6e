"""What goes out for a visible frame, once and in order."""

import types

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_builders import compressed, from_array

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_encodings import output_encoding
from irvis_fusion_ros.node.frame_output import FrameOutput, Publishers
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.frames import VisFrame

NS = 1_000_000_000


class Topic(list):
    """A publisher with one subscriber, which keeps what it was given."""

    publish = list.append

    def get_subscription_count(self):
        return 1


def frame_of(message, number=1):
    pixels = None
    if not image_messages.is_compressed(message):
        try:
            pixels = image_messages.view(message, check_finite=False)
        except image_messages.ImageMessageError:
            pixels = None
    return VisFrame(number, message, pixels, NS, 0)


class Exit:
    """A FrameOutput with topics that keep what they were given."""

    def __init__(self, compressed=True, **changes):
        self.image, self.info = Topic(), Topic()
        self.compressed = Topic() if compressed else None
        self.events = []
        live = LiveSettings(Settings.of(changes))
        publishers = Publishers(self.image, self.info, self.compressed, live)
        publishers.set_camera_info(types.SimpleNamespace(header=None))
        self.output = FrameOutput(publishers, live, lambda kind, text: self.events.append(kind))


def test_publishing_leaves_the_calibration_message_as_it_came():
    """Whoever holds it reads the frame of the visible camera from its header."""
    publishers = Publishers(Topic(), info := Topic(), None, LiveSettings(Settings()))
    calibration = CameraInfo(header=Header(frame_id="optical"))
    publishers.set_camera_info(calibration)
    message = from_array("rgb8", np.zeros((4, 6, 3), np.uint8))
    message.header = Header(frame_id="body")
    publishers.publish_unchanged(frame_of(message))
    assert calibration.header.frame_id == "optical" and info[0].header.frame_id == "body"


def test_rgb_goes_out_as_it_came():
    out = Exit()
    message = from_array("rgb8", np.full((4, 6, 3), 7, np.uint8))
    message.header = Image().header
    out.output.pass_through(frame_of(message), "test")
    assert [id(sent) for sent in out.image] == [id(message)]
    assert out.output.outcomes.counts() == {"passed: test": 1}


def test_a_mosaic_goes_out_in_the_encoding_of_the_fused_images():
    out = Exit()
    message = from_array("bayer_rggb8", np.full((8, 8), 90, np.uint8))
    message.header = Image().header
    out.output.pass_through(frame_of(message), "test")
    (sent,) = out.image
    assert sent.encoding == output_encoding("bayer_rggb8") == "rgb8"
    assert (image_messages.view(sent) == 90).all()


def test_an_encoding_unknown_here_goes_out_as_it_came():
    out = Exit(compressed=False)
    message = from_array("mono8", np.zeros((4, 4), np.uint8))
    message.encoding = "jpeg2000_planes"
    out.output.pass_through(frame_of(message), "test")
    assert [id(sent) for sent in out.image] == [id(message)]


def test_a_broken_compressed_image_goes_out_on_no_topic():
    out = Exit()
    sound = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    message = compressed(sound, "jpeg")
    message.header = Image().header
    out.output.pass_through(frame_of(message), "test")
    assert len(out.image) == len(out.compressed) == len(out.info) == 1
    out.output.pass_through(frame_of(compressed(b"no image", "jpeg"), 2), "test")
    assert len(out.image) == len(out.compressed) == len(out.info) == 1
    assert out.events == ["vis: undecodable"]
    assert out.output.outcomes.counts() == {"passed: test": 1, "dropped: undecodable": 1}


def test_calibration_goes_with_an_image_that_cannot_be_compressed():
    out = Exit()
    message = from_array("32FC1", np.zeros((4, 4), np.float32))
    out.output.pass_through(frame_of(message), "test")
    assert out.image == [message]
    assert [sent.header for sent in out.info] == [message.header]


@pytest.mark.parametrize(
    "on_overrun, reason, outcome, published",
    [
        ("passthrough", "fused", "passed: overrun", 1),
        ("passthrough", "ir_missing", "passed: ir_missing", 1),
        ("drop", "fused", "dropped: overrun", 0),
    ],
)
def test_an_overrun_frame_passes_or_is_dropped_as_asked_for(
    on_overrun, reason, outcome, published
):
    out = Exit(on_overrun=on_overrun)
    message = from_array("rgb8", np.zeros((4, 6, 3), np.uint8))
    message.header = Image().header
    out.output.overrun(frame_of(message), reason)
    assert out.output.outcomes.counts() == {outcome: 1}
    assert out.output.last_unfused == outcome and len(out.image) == published


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=40))
def test_a_frame_leaves_once_and_never_after_a_later_one(calls):
    """The reference: a list that takes only what is larger than its last element."""
    out = Exit(compressed=False)
    expected, late = [], 0
    for number, is_fused in calls:
        message = from_array("rgb8", np.full((1, 1, 3), number, np.uint8))
        frame = frame_of(message, number)
        is_next = not expected or number > expected[-1]
        if is_fused:
            assert out.output.publish_fused(frame, message, frame.pixels, "rgb") == is_next
            late += not is_next
        else:
            out.output.pass_through(frame, "test")
        expected += [number] if is_next else []
    assert [message.data[0] for message in out.image] == expected
    counts = out.output.outcomes.counts()
    assert counts.get("dropped: late", 0) == late
    assert counts.get("fused", 0) + counts.get("passed: test", 0) == len(expected)
