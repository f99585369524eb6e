"""Serialized messages against rclpy and rosbags, sound and damaged."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_ros.messages.image_encodings import LAYOUTS, ImageMessageError
from irvis_fusion_ros.messages.image_messages import view
from irvis_fusion_ros.messages.serialized_image import (
    SerializedCompressedImage,
    SerializedImage,
    compressed_bytes,
    head_bytes,
    image_bytes,
    info_bytes,
    stamp_ns_of,
    with_stamp,
)

rosbags = pytest.importorskip("rosbags.typesys", reason="needs rosbags: pip install rosbags")
STORE = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE)
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
READERS = {IMAGE: SerializedImage, COMPRESSED: SerializedCompressedImage}

UINT32 = st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
STAMPS = {"sec": st.integers(-(2**31), 2**31 - 1), "nanosec": UINT32}
FIELDS = {
    IMAGE: {
        **STAMPS,
        "frame_id": TEXT,
        "height": UINT32,
        "width": UINT32,
        "encoding": TEXT,
        "is_bigendian": st.integers(0, 255),
        "step": UINT32,
        "data": st.binary(max_size=40),
    },
    COMPRESSED: {**STAMPS, "frame_id": TEXT, "format": TEXT, "data": st.binary(max_size=40)},
}
CONTENTS = st.sampled_from([IMAGE, COMPRESSED]).flatmap(
    lambda kind: st.tuples(st.just(kind), st.fixed_dictionaries(FIELDS[kind]))
)


def written_by_rosbags(kind, fields, little_endian=True):
    types = STORE.types
    rest = dict(fields)
    stamp = types["builtin_interfaces/msg/Time"](rest.pop("sec"), rest.pop("nanosec"))
    header = types["std_msgs/msg/Header"](stamp, rest.pop("frame_id"))
    rest["data"] = np.frombuffer(rest["data"], np.uint8)
    message = types[kind](header, **rest)
    return bytes(STORE.serialize_cdr(message, kind, little_endian=little_endian))


def contents(kind, message):
    """The fields of a message of any library, as FIELDS names them."""
    stamp = message.header.stamp
    found = {"sec": stamp.sec, "nanosec": stamp.nanosec, "frame_id": message.header.frame_id}
    found.update((name, getattr(message, name)) for name in FIELDS[kind] if name not in found)
    return {**found, "data": bytes(found["data"])}


def ros_message(kind):
    pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
    from sensor_msgs import msg

    return getattr(msg, kind.rpartition("/")[2])


@given(CONTENTS, st.booleans())
def test_every_field_is_read_as_rosbags_wrote_it(content, little_endian):
    kind, fields = content
    raw = written_by_rosbags(kind, fields, little_endian)
    assert contents(kind, READERS[kind](raw)) == fields


@given(CONTENTS, st.booleans())
def test_every_field_is_read_as_rclpy_reads_it(content, little_endian):
    kind, fields = content
    message_type = ros_message(kind)
    from rclpy.serialization import deserialize_message, serialize_message

    raw = written_by_rosbags(kind, fields, little_endian)
    message = deserialize_message(raw, message_type)
    assert contents(kind, READERS[kind](raw)) == contents(kind, message)
    by_rclpy = serialize_message(message)
    assert contents(kind, READERS[kind](by_rclpy)) == fields


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("text", [b"rgb8", b"", b"a\0b\0", b"\xff\xfe\0", b"mono8\0"])
def test_odd_strings_are_read_as_rclpy_reads_them(kind, text):
    """Without a NUL at its end, with one inside, no UTF-8."""
    message_type = ros_message(kind)
    from rclpy.serialization import deserialize_message

    strings = len(text).to_bytes(4, "little") + text + bytes(-len(text) % 4)
    rest = bytes(8) + strings + bytes(12) if kind == IMAGE else strings + bytes(4)
    raw = b"\0\1\0\0" + bytes(8) + strings + rest
    expected = contents(kind, deserialize_message(raw, message_type))
    assert contents(kind, READERS[kind](raw)) == expected


@given(
    st.sampled_from(sorted(LAYOUTS)),
    st.tuples(st.integers(1, 5), st.integers(1, 4), TEXT, STAMPS["sec"], UINT32),
    st.booleans(),
)
def test_written_images_are_what_the_libraries_write(encoding, form, little_endian):
    rows, half_width, frame_id, sec, nanosec = form
    layout = LAYOUTS[encoding]
    shape = (rows, 2 * half_width) + ((layout.channels,) if layout.channels > 1 else ())
    dtype = np.dtype(layout.type_code)
    pixels = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    fields = {
        "sec": sec,
        "nanosec": nanosec,
        "frame_id": frame_id,
        "height": rows,
        "width": shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.nbytes // rows,
        "data": pixels.tobytes(),
    }
    by_rosbags = written_by_rosbags(IMAGE, fields, little_endian)
    head = SerializedImage(by_rosbags).head
    raw = image_bytes(head, encoding, pixels)
    assert raw == by_rosbags
    assert (view(SerializedImage(raw), check_finite=False) == pixels).all()
    if little_endian:
        assert head == head_bytes(sec, nanosec, frame_id)
    swapped = SerializedImage(image_bytes(head, encoding, pixels.astype(dtype.newbyteorder(">"))))
    assert swapped.is_bigendian == (dtype.itemsize > 1)
    assert (view(swapped, check_finite=False) == pixels).all()


@given(st.fixed_dictionaries(FIELDS[COMPRESSED]), st.booleans())
def test_written_compressed_images_are_what_the_libraries_write(fields, little_endian):
    raw = written_by_rosbags(COMPRESSED, fields, little_endian)
    head = SerializedCompressedImage(raw).head
    assert compressed_bytes(head, fields["format"], fields["data"]) == raw


DOUBLES = st.floats(width=64)


@given(
    TEXT,
    TEXT,
    st.lists(DOUBLES, max_size=8),
    st.lists(DOUBLES, min_size=30, max_size=30),
    TEXT,
    st.tuples(st.booleans(), st.booleans()),
)
def test_a_calibration_gets_another_header_and_keeps_all_else(
    frame_id, model, coefficients, matrices, other_id, little_endian
):
    """The reference: rosbags' serialization of the message with that header."""
    kind, types = "sensor_msgs/msg/CameraInfo", STORE.types

    def header(sec, name):
        return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](sec, 9), name)

    k, r, p = np.split(np.array(matrices), [9, 18])
    roi = types["sensor_msgs/msg/RegionOfInterest"](1, 2, 3, 4, True)
    d = np.array(coefficients, np.float64)
    info = types[kind](header(-5, frame_id), 480, 640, model, d, k, r, p, 6, 7, roi)
    raw = bytes(STORE.serialize_cdr(info, kind, little_endian=little_endian[0]))
    image = {"sec": 77, "nanosec": 9, "frame_id": other_id, "format": "", "data": b""}
    head = written_by_rosbags(COMPRESSED, image, little_endian[1])
    info.header = header(77, other_id)
    expected = bytes(STORE.serialize_cdr(info, kind, little_endian=little_endian[0]))
    assert info_bytes(raw, SerializedCompressedImage(head).head) == expected
    for length in range(len(raw) - 8 * 30 - 8 * len(coefficients) - 60):
        with pytest.raises(ImageMessageError, match="expected a serialized message"):
            info_bytes(raw[:length], SerializedCompressedImage(head).head)


@given(st.integers(0, 2**31 - 1), UINT32.filter(lambda ns: ns < 10**9), st.booleans())
def test_stamps_are_read_and_replaced(sec, nanosec, little_endian):
    fields = {"sec": 1, "nanosec": 2, "frame_id": "a", "format": "jpeg", "data": b"123"}
    raw = written_by_rosbags(COMPRESSED, fields, little_endian)
    assert stamp_ns_of(raw) == 10**9 + 2
    changed = with_stamp(raw, sec * 10**9 + nanosec)
    assert stamp_ns_of(changed) == sec * 10**9 + nanosec
    fields.update(sec=sec, nanosec=nanosec)
    assert contents(COMPRESSED, SerializedCompressedImage(changed)) == fields


@given(st.binary(max_size=30))
def test_a_message_without_a_whole_header_has_no_stamp(raw):
    """Text is read whole by `stamp_ns_of`, so the header has to be there to its end."""
    for read in (stamp_ns_of, lambda damaged: with_stamp(damaged, 7)):
        with contextlib.suppress(ImageMessageError):
            read(raw)
    for damaged in (b"", b"\0\1", b"\0\1\0\0" + bytes(7), b"\xff" * 40):
        with pytest.raises(ImageMessageError):
            stamp_ns_of(damaged)
        with pytest.raises(ImageMessageError):
            with_stamp(damaged, 7)


@pytest.mark.parametrize("version_2", [b"\0\6", b"\0\7"])
def test_plain_cdr_2_has_the_same_fields(version_2):
    fields = {"sec": 1, "nanosec": 2, "frame_id": "a", "format": "jpeg", "data": b"123"}
    raw = written_by_rosbags(COMPRESSED, fields, little_endian=version_2 == b"\0\7")
    assert contents(COMPRESSED, SerializedCompressedImage(version_2 + raw[2:])) == fields


def read_or_refuse(kind, raw):
    """Read a message that may be anything: its fields, or None; nothing else may be raised."""
    try:
        message = READERS[kind](raw)
    except ImageMessageError as error:
        assert error.kind == "unreadable"
        return None
    assert len(message.data) <= len(raw)
    if kind == IMAGE:
        with contextlib.suppress(ImageMessageError):
            view(message, check_finite=False).tobytes()  # touches every pixel
    return contents(kind, message)


@given(CONTENTS, st.booleans(), st.data())
def test_a_message_that_was_cut_short_is_refused(content, little_endian, data):
    kind, fields = content
    raw = written_by_rosbags(kind, fields, little_endian)
    length = data.draw(st.integers(0, len(raw) - 1))
    assert read_or_refuse(kind, raw[:length]) is None
    assert read_or_refuse(kind, raw + bytes(3)) == fields  # some writers pad the end


@given(CONTENTS, st.booleans(), st.lists(st.tuples(UINT32, st.integers(1, 255)), max_size=6))
def test_flipped_bits_raise_the_one_declared_error_or_none(content, little_endian, flips):
    kind, fields = content
    raw = bytearray(written_by_rosbags(kind, fields, little_endian))
    for place, mask in flips:
        raw[place % len(raw)] ^= mask
    read_or_refuse(kind, bytes(raw))


@given(st.sampled_from([IMAGE, COMPRESSED]), st.booleans(), st.binary(max_size=120))
def test_random_bytes_raise_the_one_declared_error_or_none(kind, with_start, raw):
    read_or_refuse(kind, b"\0\1\0\0" + raw if with_start else raw)


@given(st.sampled_from([bytes, bytearray, memoryview]), st.fixed_dictionaries(FIELDS[IMAGE]))
def test_any_buffer_of_bytes_is_read(make, fields):
    raw = written_by_rosbags(IMAGE, fields)
    assert contents(IMAGE, SerializedImage(make(raw))) == fields


def test_the_pixels_are_not_copied():
    raw = bytearray(image_bytes(head_bytes(0, 0, ""), "mono8", np.zeros((4, 6), np.uint8)))
    pixels = view(SerializedImage(raw))
    raw[-1] = 9
    assert pixels[3, 5] == 9 and pixels.sum() == 9
