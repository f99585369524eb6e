"""Headers against what cv2 wrote, and hostile files, which must not reach the decoder."""

import struct
import tracemalloc

import cv2
import pytest
from hostile_images import (
    CODERS,
    coded,
    declaring,
    png,
    segment,
    tiff_of_tags,
    with_scans,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import ImageFileError
from irvis_fusion_core.file_formats import image_bytes
from irvis_fusion_core.file_formats.image_bytes import MOST_SCANS, check, decode


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(CODERS)), height=st.integers(1, 90), width=st.integers(1, 300))
def test_headers_say_what_was_written(name, height, width):
    found = check(coded(name, height, width), "x")
    assert (found.format, found.width, found.height) == (name.split()[0], width, height)


def test_webp_with_alpha_has_its_size_in_an_extended_header():
    assert check(coded("WebP lossy", 21, 300, channels=4), "x")[1:3] == (300, 21)


def test_scans_of_usual_encoders():
    assert check(coded("JPEG"), "x").scans == 1
    assert check(coded("JPEG progressive"), "x").scans == 10  # libjpeg's own script for colour


HOSTILE = {
    "a chunk longer than the file": (png(length=0x7FFFFFFF), "undecodable"),
    "scans": (with_scans(500), "too_many_scans"),
    "scans behind a false end": (with_scans(500, segment(0xFE, b"\xff\xd9")), "too_many_scans"),
    "scans behind fill bytes": (with_scans(500, b"\xff\xff"), "too_many_scans"),
    "segments": (with_scans(2, segment(0xFE, b"") * 2000), "too_many_scans"),
    **{f"{name} declares much": (declaring(name, 16000, 12000), "too_large") for name in CODERS},
    "PNG of no width": (declaring("PNG", 0, 9), "undecodable"),
    "a GIF": (b"GIF89a" + bytes(50), "unknown_format"),
    "an OpenEXR": (b"v/1\x01" + bytes(50), "unknown_format"),
    "a JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "unknown_format"),
    "an AVIF": (b"\0\0\0\x20ftypavif" + bytes(50), "unknown_format"),
    "tags that share their values": (tiff_of_tags(2000, 50_000), "undecodable"),
    "nothing": (b"", "undecodable"),
    "a text": (b"P6 of the manual", "undecodable"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_kind_without_decoding(name, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    data, kind = HOSTILE[name]
    with pytest.raises(ImageFileError, match="camera 7") as caught:
        decode(data, cv2.IMREAD_UNCHANGED, "camera 7")
    assert caught.value.kind == kind


def test_values_that_tags_share_are_not_all_read():
    """200 KB would become 50 000 numbers for each of 200 tags, 80 MB of addresses alone."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError):
            check(tiff_of_tags(200, 50_000), "camera 7")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_tile_counts_for_the_image_that_is_smaller():
    data = bytearray(coded("TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    entries = bytes(data[first + 2 : first + 2 + 12 * count])
    tiles = struct.pack("<HHIIHHII", 322, 4, 1, 30000, 323, 4, 1, 30000)
    struct.pack_into("<I", data, 4, len(data))
    data += struct.pack("<H", count + 2) + entries + tiles + bytes(4)
    with pytest.raises(ImageFileError, match="30000x30000"):
        check(bytes(data), "x")


def test_as_many_scans_as_are_allowed_are_read():
    usual = check(coded("JPEG progressive", 64, 64), "x").scans
    most = with_scans(MOST_SCANS - usual + 1)
    assert check(most, "x").scans == MOST_SCANS
    assert decode(most, cv2.IMREAD_COLOR, "x").shape == (64, 64, 3)
    with pytest.raises(ImageFileError, match=f"at most {MOST_SCANS} scans"):
        check(with_scans(MOST_SCANS - usual + 2), "x")


def test_bounds_can_be_narrower():
    bounds = image_bytes.Bounds(("PNG",), 600, 3000)
    assert check(coded("PNG", 20, 30), "x", bounds).width == 30
    for data, kind in (
        (coded("JPEG"), "unknown_format"),
        (coded("PNG", 20, 31), "too_large"),
        (bytes(3001), "too_large"),
    ):
        with pytest.raises(ImageFileError) as caught:
            check(data, "x", bounds)
        assert caught.value.kind == kind


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(CODERS)),
    changes=st.lists(
        st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=6)), max_size=4
    ),
    cut=st.integers(0, 2500),
)
def test_changed_files_are_refused_or_have_the_size_that_was_checked(name, changes, cut):
    data = bytearray(coded(name))
    for place, content in changes:
        data[place : place + len(content)] = content
    data = bytes(data[:cut] if cut < 2000 else data)
    try:
        header = check(data, "x", image_bytes.Bounds(pixels=10**6))
        pixels = decode(data, cv2.IMREAD_UNCHANGED, "x", image_bytes.Bounds(pixels=10**6))
    except ImageFileError as error:
        assert error.kind in ("undecodable", "too_large", "unknown_format", "too_many_scans")
        return
    assert pixels.shape[:2] == (header.height, header.width)
