"""Messages to numpy and back, against struct-built data, literal loops and cv2.

Messages are plain objects with the fields of sensor_msgs; where sensor_msgs is installed, the real
ones as well.
"""

import array
import sys
import types

import cv2
import numpy as np
import pytest
from hostile_images import declaring, with_scans
from hypothesis import given, settings
from hypothesis import strategies as st
from message_builders import (
    CODES,
    compressed,
    filled,
    from_array,
    image,
    packed,
    smooth_pixels,
)

from irvis_fusion_core.errors import FrameError
from irvis_fusion_ros.messages.compressed_messages import decode, encode
from irvis_fusion_ros.messages.image_encodings import KINDS, LAYOUTS, ImageMessageError
from irvis_fusion_ros.messages.image_messages import (
    fused_bytes,
    thermal_frame,
    view,
    visible_frame,
)
from irvis_fusion_ros.messages.serialized_image import SerializedImage


@st.composite
def any_message(draw, encodings=tuple(CODES)):
    encoding = draw(st.sampled_from(encodings))
    letter, channels = CODES[encoding]
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    top = {"B": 255, "H": 65535, "f": 1000}[letter]
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(0, top + 1, (height, width, channels)).tolist()
    padding, is_bigendian = draw(st.integers(0, 9)), draw(st.integers(0, 1))
    return values, packed(encoding, values, padding, is_bigendian)


@settings(max_examples=200, deadline=None)
@given(any_message())
def test_view_reads_every_value_in_any_layout(values_and_message):
    values, msg = values_and_message
    pixels = view(msg)
    expected = np.array(values)
    if expected.shape[2] == 1:
        expected = expected[..., 0]
    assert pixels.shape == expected.shape
    assert np.array_equal(pixels, expected)


def test_view_does_not_copy():
    msg = packed("rgb8", smooth_pixels().tolist(), padding=5)
    pixels = view(msg)
    msg.data[1 * msg.step + 2 * 3] = 77
    msg.data[1 * msg.step + 2 * 3 + 1] = 78
    assert pixels[1, 2, :2].tolist() == [77, 78]


@settings(max_examples=150, deadline=None)
@given(any_message(encodings=("rgb8", "bgr8", "8UC3", "rgba8", "bgra8")), st.booleans())
def test_fill_gives_back_what_was_read(values_and_message, swap):
    values, msg = values_and_message
    pixels, order = visible_frame(msg)
    given_order = order
    if swap:
        pixels, given_order = pixels[..., ::-1], "bgr" if order == "rgb" else "rgb"
    out = filled(pixels, msg, given_order if swap else None)
    assert out.encoding == msg.encoding
    assert (out.height, out.width) == (msg.height, msg.width)
    assert out.step == out.width * len(values[0][0])
    assert len(out.data) == out.step * out.height
    assert np.array_equal(view(out), values)
    assert out.header.frame_id == "camera_optical"
    assert (out.header.stamp.sec, out.header.stamp.nanosec) == (12, 34)


@settings(max_examples=60, deadline=None)
@given(any_message(encodings=("mono8", "8UC1", "mono16")))
def test_grey_visible_goes_out_grey_in_its_own_encoding(values_and_message):
    values, msg = values_and_message
    pixels, _ = visible_frame(msg)
    upper = np.array(values)[..., 0] >> (8 if msg.encoding == "mono16" else 0)
    assert np.array_equal(pixels, np.repeat(upper[..., None], 3, axis=2))
    out = filled(pixels, msg)
    assert out.encoding == msg.encoding
    scale = 257 if msg.encoding == "mono16" else 1
    assert np.array_equal(view(out), upper * scale)


def test_fused_colour_on_a_grey_camera_becomes_its_luma():
    fused = smooth_pixels()
    msg = from_array("mono8", smooth_pixels(channels=1)[..., 0])
    out = filled(fused, msg, "bgr")
    weights = np.array([0.114, 0.587, 0.299])
    assert np.abs(view(out) - fused @ weights).max() <= 1


def test_alpha_is_that_of_the_visible_message():
    rgba = smooth_pixels(channels=4)
    msg = from_array("rgba8", rgba)
    fused = 255 - rgba[..., :3]
    out = filled(fused, msg)
    assert np.array_equal(view(out)[..., :3], fused)
    assert np.array_equal(view(out)[..., 3], rgba[..., 3])


@pytest.mark.parametrize(
    "fused",
    [
        np.zeros((3, 4, 3), np.uint8),
        np.zeros((24, 32, 3), np.float32),
        np.zeros((24, 32), np.uint8),
    ],
)
def test_a_fused_frame_that_does_not_fit_is_refused(fused):
    with pytest.raises(FrameError, match="expected fused"):
        filled(fused, from_array("rgb8", smooth_pixels()))


def test_thermal_frames_come_as_sent_in_native_order():
    raw = [[[29315], [29000]], [[1], [65535]]]
    for is_bigendian in (0, 1):
        frame = thermal_frame(packed("16UC1", raw, 3, is_bigendian))
        assert frame.dtype == np.uint16 and frame.dtype.isnative
        assert frame.tolist() == [[29315, 29000], [1, 65535]]


def bad_message(kind):
    msg = packed("rgb8", smooth_pixels(4, 6).tolist())
    if kind == "zero_size":
        msg.height = 0
    elif kind == "wrong_step":
        msg.step = 6
    elif kind == "short_data":
        del msg.data[-1:]
    elif kind == "unknown_encoding":
        msg.encoding = "hologram"
    elif kind == "odd_size":
        msg.encoding, msg.width = "yuv422", 5
    elif kind == "not_finite":
        msg = packed("32FC1", [[[float("nan")], [float("inf")]]])
    elif kind == "wrong_depth":
        msg.encoding, msg.data = "16UC1", msg.data[: 4 * 6]
    else:
        data = {
            "undecodable": b"\xff\xd8\xff no image",
            "unknown_format": b"GIF89a" + bytes(30),
            "too_large": declaring("JPEG", 16000, 12000),
            "too_many_scans": with_scans(500),
        }[kind]
        msg = compressed(data, "jpeg")
    return msg


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"unreadable"}))  # of serialized_image
def test_each_bad_message_raises_its_own_kind(kind):
    msg = bad_message(kind)
    with pytest.raises(ImageMessageError) as caught:
        thermal_frame(msg)
    assert caught.value.kind == kind
    if kind != "not_finite":
        with pytest.raises(ImageMessageError) as caught:
            visible_frame(msg)
        assert caught.value.kind == kind


def test_not_finite_counts_the_pixels_and_can_be_left_to_the_caller():
    msg = packed("32FC1", [[[293.0], [float("nan")], [float("inf")]]])
    with pytest.raises(ImageMessageError, match="2 of 3"):
        view(msg)
    assert np.isnan(view(msg, check_finite=False)[0, 1])


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from(sorted(LAYOUTS) + ["nv12", "nv21", "nv24", "x", ""]),
    height=st.integers(0, 6),
    width=st.integers(0, 6),
    step=st.integers(0, 40),
    data=st.binary(max_size=150),
    is_bigendian=st.integers(0, 255),
)
def test_any_message_is_read_or_refused_by_kind(encoding, height, width, step, data, is_bigendian):
    msg = image(encoding, height, width, data, step, is_bigendian)
    for read in (visible_frame, thermal_frame):
        try:
            result = read(msg)
        except ImageMessageError as error:
            assert error.kind in KINDS
        else:
            pixels = result[0] if read is visible_frame else result
            assert pixels.shape[:2] == (height, width)


def test_cv_bridge_takes_what_we_do_not_know_and_only_under_numpy_1(monkeypatch):
    seen = []

    class CvBridge:
        def imgmsg_to_cv2(self, msg, wanted):
            seen.append((msg.encoding, wanted))
            if msg.encoding != "rgb16":
                raise KeyError(msg.encoding)
            return np.full((msg.height, msg.width, 3), 9, np.uint8)

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=CvBridge))
    msg = image("rgb16", 2, 3, bytes(36), 18)
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(ImageMessageError, match="NumPy 2"):
        visible_frame(msg)
    assert seen == []
    monkeypatch.setattr(np, "__version__", "1.26.4")
    pixels, order = visible_frame(msg)
    assert (order, seen, pixels.shape) == ("rgb", [("rgb16", "rgb8")], (2, 3, 3))
    msg.encoding = "hologram"
    with pytest.raises(ImageMessageError) as caught:
        visible_frame(msg)
    assert caught.value.kind == "unknown_encoding"


def test_real_messages_round_trip_with_their_fields_checked():
    """Run with ROS_PYTHON_CHECK_FIELDS=1 to have rclpy check each assignment."""
    sensor_msgs = pytest.importorskip("sensor_msgs.msg")
    rgb = smooth_pixels()
    msg = sensor_msgs.Image()
    msg.header.frame_id, msg.header.stamp.sec = "camera", 7
    msg.height, msg.width, msg.encoding, msg.step = 24, 32, "bgra8", 32 * 4 + 12
    padded = np.zeros((24, 140), np.uint8)
    padded[:, :128] = np.dstack([rgb, rgb[..., :1]]).reshape(24, 128)
    msg.data.frombytes(padded.tobytes())
    pixels, order = visible_frame(msg)
    assert order == "bgr" and np.array_equal(pixels, rgb)
    from rclpy.serialization import deserialize_message, serialize_message

    in_cdr = SerializedImage(serialize_message(msg))
    out = deserialize_message(fused_bytes(255 - pixels, in_cdr), sensor_msgs.Image)
    assert isinstance(out.data, array.array)
    assert np.array_equal(view(out), np.dstack([255 - rgb, rgb[..., :1]]))
    assert (out.header.frame_id, out.header.stamp.sec) == ("camera", 7)
    coded = encode(rgb, in_cdr.head, "bgr")
    packed_out = deserialize_message(coded, sensor_msgs.CompressedImage)
    _, jpeg = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert np.array_equal(decode(packed_out)[0], cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    assert packed_out.header == msg.header
    mono16 = sensor_msgs.Image(height=2, width=2, encoding="mono16", step=4)
    mono16.data.frombytes(bytes(8))
    mono16 = SerializedImage(serialize_message(mono16))
    assert SerializedImage(fused_bytes(np.zeros((2, 2, 3), np.uint8), mono16)).step == 4
