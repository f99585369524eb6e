"""Colour conversions against the definitions of the encodings, written out pixel by pixel."""

import numpy as np
import pytest
from message_builders import filled, from_array, image, packed, smooth_pixels

from irvis_fusion_ros.messages.image_encodings import (
    ImageMessageError,
    output_encoding,
    to_rgb_or_bgr,
)
from irvis_fusion_ros.messages.image_messages import thermal_frame, view, visible_frame

COLOUR_AT = {
    "rggb": [[0, 1], [1, 2]],
    "bggr": [[2, 1], [1, 0]],
    "gbrg": [[1, 2], [0, 1]],
    "grbg": [[1, 0], [2, 1]],
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("pattern", sorted(COLOUR_AT))
def test_bayer_of_a_plain_colour_gives_that_colour(pattern, is_bigendian, bits):
    rgb = (200, 120, 40)
    mosaic = [[[rgb[COLOUR_AT[pattern][y % 2][x % 2]]] for x in range(12)] for y in range(10)]
    wide = [[[p[0] * 256 + 7] for p in row] for row in mosaic]
    msg = packed("mono8", mosaic, 3) if bits == 8 else packed("mono16", wide, 6, is_bigendian)
    msg.encoding = f"bayer_{pattern}{bits}"
    pixels, order = visible_frame(msg)
    assert (order, output_encoding(msg.encoding)) == ("rgb", "rgb8")
    assert np.array_equal(pixels, np.broadcast_to(rgb, (10, 12, 3)))
    out = filled(pixels, msg)
    assert out.encoding == "rgb8" and np.array_equal(view(out), pixels)


def yuv_of(rgb):
    """BT.601 video range, float, from its definition."""
    r, g, b = np.moveaxis(rgb.astype(float) / 255, 2, 0)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    u, v = (b - luma) / 1.772, (r - luma) / 1.402
    return np.stack([16 + 219 * luma, 128 + 224 * u, 128 + 224 * v], 2).round().astype(np.uint8)


def yuv_message(encoding, rgb, padding=0):
    yuv = yuv_of(rgb)
    height, width = rgb.shape[:2]
    rows = []
    if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        for line in yuv:
            row = bytearray()
            for left, right in zip(line[::2], line[1::2]):
                y0, u, v, y1 = left[0], left[1], left[2], right[0]
                row += bytes(
                    [u, y0, v, y1]
                    if encoding[0] == "u" or encoding == "yuv422"
                    else [y0, u, y1, v]
                )
            rows.append(bytes(row))
    else:
        rows = [line[:, 0].tobytes() for line in yuv]
        chroma = yuv[:, :, 1:] if encoding == "nv24" else yuv[::2, ::2, 1:]
        if encoding == "nv21":
            chroma = chroma[..., ::-1]
        flat = chroma.tobytes()
        rows += [flat[i : i + width] for i in range(0, len(flat), width)]
    data = b"".join(row + b"\x11" * padding for row in rows)
    return image(encoding, height, width, data, len(rows[0]) + padding)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    "encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "nv24"]
)
def test_yuv_gives_the_colours_that_went_in(encoding, padding):
    # blocks of 8x8, so that shared chroma loses nothing
    blocks = np.random.default_rng(3).integers(30, 225, (3, 4, 3), dtype=np.uint8)
    rgb = blocks.repeat(8, 0).repeat(8, 1)
    msg = yuv_message(encoding, rgb, padding)
    if encoding == "nv24" and padding:
        with pytest.raises(ImageMessageError) as caught:
            view(msg)
        assert caught.value.kind == "wrong_step"
        return
    pixels, order = visible_frame(msg)
    assert order == "rgb"
    assert np.abs(pixels.astype(int) - rgb).max() <= 4
    assert np.array_equal(thermal_frame(msg), yuv_of(rgb)[..., 0])


def test_nv12_whose_step_counts_all_planes_is_read():
    rgb = smooth_pixels(16, 24)
    usual, odd = yuv_message("nv12", rgb), yuv_message("nv12", rgb)
    odd.step = 36
    assert np.array_equal(view(odd), view(usual))


def test_grey_sent_as_colour_is_thermal_grey():
    grey = smooth_pixels(channels=1)
    for encoding in ("rgb8", "bgr8"):
        frame = thermal_frame(from_array(encoding, grey.repeat(3, axis=2)))
        assert np.array_equal(frame, grey[..., 0])


def test_false_colour_gives_its_luma_in_either_order():
    rgb = smooth_pixels()
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    for encoding, pixels in (("rgb8", rgb), ("bgr8", rgb[..., ::-1])):
        assert np.abs(thermal_frame(from_array(encoding, pixels)) - expected).max() <= 1


def test_16uc1_shows_no_visible_image():
    with pytest.raises(ImageMessageError) as caught:
        to_rgb_or_bgr(np.zeros((2, 2), np.uint16), "16UC1")
    assert caught.value.kind == "unknown_encoding"
