"""The GIF writer against Pillow's decoder."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.gif import compress, encode_gif

Image = pytest.importorskip("PIL.Image", reason="decodes with Pillow")


def decoded(data):
    image = Image.open(io.BytesIO(data))
    frames = []
    for number in range(image.n_frames):
        image.seek(number)
        frames.append((np.array(image.convert("RGB")), image.info["duration"]))
    return frames, image.info


def lzw_decoded(data, bits=8):
    """A literal decoder of GIF's LZW."""
    codes, position, width = [], 0, bits + 1
    clear, end = 1 << bits, (1 << bits) + 1
    value = int.from_bytes(data, "little")
    table, out, before = [], bytearray(), None
    while True:
        code = (value >> position) & ((1 << width) - 1)
        position += width
        codes.append(code)
        if code == clear:
            table, before, width = [bytes([i]) for i in range(clear)] + [b"", b""], None, bits + 1
            continue
        if code == end:
            return bytes(out)
        if not table:
            table = [bytes([i]) for i in range(clear)] + [b"", b""]
        entry = table[code] if code < len(table) else before + before[:1]
        out += entry
        if before is not None and len(table) < 4096:
            table.append(before + entry[:1])
        if len(table) == 1 << width and width < 12:
            width += 1
        before = entry


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000))
def test_lzw_is_undone_by_a_literal_decoder(data):
    assert lzw_decoded(compress(data)) == data


@pytest.mark.parametrize("kind", ["flat", "noise", "few values"])
def test_lzw_of_more_than_a_full_table(kind):
    rng = np.random.default_rng(0)
    top = {"flat": 1, "noise": 256, "few values": 3}[kind]
    data = rng.integers(0, top, 20_000).astype(np.uint8).tobytes()
    assert lzw_decoded(compress(data)) == data


def test_few_colours_come_back_exactly_in_every_frame():
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 4, (30, 41, 3)).astype(np.uint8) * 64 for _ in range(3)]
    found, info = decoded(encode_gif(frames, period_s=0.1))
    assert info["loop"] == 0
    assert len(found) == 3
    for frame, (pixels, duration_ms) in zip(frames, found):
        assert duration_ms == 100
        assert np.array_equal(pixels, frame)


def test_many_colours_come_back_nearly():
    y, x = np.mgrid[0:60, 0:80]
    frame = np.dstack([x * 3, y * 4, (x + y)]).astype(np.uint8)
    ((pixels, _),) = decoded(encode_gif([frame]))[0]
    assert np.abs(pixels.astype(int) - frame).mean() < 6


def test_the_same_frames_give_the_same_bytes():
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 256, (40, 40, 3)).astype(np.uint8) for _ in range(2)]
    assert encode_gif(frames) == encode_gif(frames)


def test_frames_of_several_sizes_are_refused():
    with pytest.raises(FrameError, match="one size"):
        encode_gif([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])
    with pytest.raises(FrameError, match="one size"):
        encode_gif([])
