"""CompressedImage against what cv2 wrote, and against arbitrary bytes."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_builders import compressed, encoded, filled, from_array, smooth_pixels

from irvis_fusion_core.file_formats.image_bytes import declared_size
from irvis_fusion_ros.messages.compressed_messages import decode
from irvis_fusion_ros.messages.image_encodings import ImageMessageError
from irvis_fusion_ros.messages.image_messages import thermal_frame, view, visible_frame


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=200),
    image_format=st.sampled_from(
        [
            "",
            "jpeg",
            "rgb8; png compressed bgr8",
            "16UC1; compressedDepth",
            "32FC1; compressedDepth",
        ]
    ),
)
def test_any_compressed_bytes_are_decoded_or_refused(data, image_format):
    with pytest.raises(ImageMessageError) as caught:
        decode(compressed(data, image_format))
    assert caught.value.kind in ("zero_size", "undecodable", "unknown_encoding", "unknown_format")


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_round_trip_is_that_of_a_jpeg_and_keeps_the_header(order):
    fused = smooth_pixels()
    out = encoded(fused, from_array("rgb8", fused), order, 80)
    pixels, read_order = visible_frame(out)
    assert read_order == "bgr" and out.format == f"{order}8; jpeg compressed bgr8"
    bgr = fused if order == "bgr" else np.ascontiguousarray(fused[..., ::-1])
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert np.array_equal(pixels, cv2.imdecode(coded, cv2.IMREAD_COLOR))
    assert out.header.frame_id == "camera_optical"


def test_jpeg_stays_close_and_smaller_with_less_quality():
    fused = smooth_pixels(64, 96)
    msg = from_array("rgb8", fused)
    fine = encoded(fused, msg, quality=95)
    coarse = encoded(fused, msg, quality=20)
    assert len(coarse.data) < len(fine.data)
    assert np.abs(decode(fine)[0][..., ::-1].astype(int) - fused).mean() < 3


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_compressed_sources_are_told_by_their_format():
    raw = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    for image_format, extra in (
        ("16UC1; png compressed ", b""),
        ("16UC1; compressedDepth png", b"\0" * 12),
    ):
        pixels, encoding = decode(compressed(extra + png(raw), image_format))
        assert encoding == "16UC1" and np.array_equal(pixels, raw)
    assert decode(compressed(png(raw), "png"))[1] == "mono16"
    grey = smooth_pixels(channels=1)[..., 0]
    assert decode(compressed(png(grey), "mono8; png compressed mono8"))[1] == "mono8"
    assert decode(compressed(png(grey), "bayer_rggb8; png compressed "))[1] == "bayer_rggb8"
    assert decode(compressed(png(smooth_pixels(channels=4)), "png"))[1] == "bgra8"
    assert np.array_equal(thermal_frame(compressed(png(raw), "16UC1; png compressed ")), raw)


def test_compressed_visible_goes_out_raw_as_bgr8():
    bgr = smooth_pixels()
    msg = compressed(png(bgr), "rgb8; png compressed bgr8")
    pixels, order = visible_frame(msg)
    out = filled(pixels, msg, order)
    assert out.encoding == "bgr8" and np.array_equal(view(out), bgr)


def declared(codec, width, height):
    """A small file whose head declares another size."""
    coded = cv2.imencode("." + codec, smooth_pixels())[1].tobytes()
    if codec == "png":
        head = b"IHDR" + struct.pack(">II", width, height) + coded[24:29]
        return coded[:12] + head + struct.pack(">I", zlib.crc32(head)) + coded[33:]
    at = coded.index(b"\xff\xc0")
    return coded[: at + 5] + struct.pack(">HH", height, width) + coded[at + 9 :]


@pytest.mark.parametrize("codec", ["png", "jpg"])
def test_a_small_file_that_would_unpack_to_gigabytes_is_refused_before(codec, monkeypatch):
    unpacked = []
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: unpacked.append(arguments))
    with pytest.raises(ImageMessageError, match="30000x20000.*max_pixels") as caught:
        decode(compressed(declared(codec, 30000, 20000), codec))
    assert caught.value.kind == "too_large" and not unpacked


@pytest.mark.parametrize("codec", ["jpg", "png"])
def test_head_is_read_behind_other_segments(codec):
    coded = cv2.imencode("." + codec, smooth_pixels(20, 30))[1].tobytes()
    if codec == "jpg":  # a thumbnail of another size within an APP1 segment, and fill bytes
        inner = cv2.imencode(".jpg", smooth_pixels(8, 8))[1].tobytes()
        app1 = b"\xff\xff\xff\xe1" + struct.pack(">H", 2 + len(inner)) + inner
        coded = coded[:2] + app1 + coded[2:]
    assert declared_size(coded) == (30, 20)
    assert decode(compressed(coded, codec))[0].shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", [".tiff", ".webp"])
def test_further_formats_of_the_transport_are_read(suffix):
    bgr = smooth_pixels()
    data = cv2.imencode(suffix, bgr, (cv2.IMWRITE_WEBP_QUALITY, 101))[1].tobytes()
    assert np.array_equal(decode(compressed(data, "rgb8; tiff compressed bgr8"))[0], bgr)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm"])
def test_formats_of_files_alone_are_refused_by_name(suffix):
    data = cv2.imencode(suffix, smooth_pixels())[1].tobytes()
    with pytest.raises(
        ImageMessageError, match="JPEG, PNG, TIFF, WebP.*found (BMP|PNM)"
    ) as caught:
        decode(compressed(data, "bgr8"))
    assert caught.value.kind == "unknown_format"


def test_pixels_are_bounded_by_the_parameter():
    message = compressed(png(smooth_pixels(24, 32)), "png")
    assert decode(message, 24 * 32)[0].shape == (24, 32, 3)
    with pytest.raises(ImageMessageError, match="at most 767 pixels"):
        decode(message, 24 * 32 - 1)
