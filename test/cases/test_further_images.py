"""Images and videos that are told apart by single fields of their files."""

import struct

import cv2
import numpy as np
import pytest

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.file_formats.video_files import Video
from irvis_fusion_core.image_files import images_by_stem, read_thermal, read_visible

LEVELS = np.clip(
    100 + np.add.outer(np.arange(60), np.arange(80)) / 2
    + np.random.default_rng(0).normal(0, 1, (60, 80)), 0, 255,
).astype(np.uint8)  # fmt: skip
COUNTS = LEVELS.astype(np.uint16) * 40 + 12000


def coded(image, suffix):
    return cv2.imencode(suffix, image)[1].tobytes()


def tiff(pixels, photometric=1, sample_format=1, pages=1):
    """A little-endian TIFF without compression, from its specification."""
    data, size = pixels.tobytes(), pixels.shape
    start = 8 + len(data)
    tags = ((256, size[1]), (257, size[0]), (258, 8 * pixels.itemsize), (259, 1),
            (262, photometric), (273, 8), (277, 1), (278, size[0]), (279, len(data)),
            (339, sample_format))  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    length = 2 + len(entries) + 4
    directories = b""
    for page in range(1, pages + 1):
        following = start + page * length if page < pages else 0
        directories += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", start) + data + directories


def test_white_is_hot_where_a_tiff_says_that_0_is_white(tmp_path):
    for stored in (LEVELS, COUNTS):
        path = tmp_path / f"{stored.dtype}.tif"
        for photometric, pixels in ((1, stored), (0, ~stored)):
            path.write_bytes(tiff(pixels, photometric))
            np.testing.assert_array_equal(read_thermal(path), stored)


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tiff"])
def test_swapped_bytes_are_swapped_back_in_every_format(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for image in (COUNTS, COUNTS.byteswap()):
        path.write_bytes(coded(image, suffix))
        np.testing.assert_array_equal(read_thermal(path), COUNTS)


def test_signed_numbers_are_thermal_and_no_visible_image(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(COUNTS.astype(np.int16) - 14000, sample_format=2))
    np.testing.assert_array_equal(read_thermal(path), COUNTS.astype(np.float32) - 14000)
    with pytest.raises(FrameError, match="found signed ones; convert it to PNG"):
        read_visible(path)


@pytest.mark.parametrize("kind, number", [(np.float16, 3), (np.uint32, 1)])
def test_numbers_that_opencv_does_not_read_are_named(tmp_path, kind, number):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(COUNTS.astype(kind), sample_format=number))
    with pytest.raises(FrameError, match=f"of {8 * kind().itemsize} bits; convert it"):
        read_thermal(path)
    path.write_bytes(tiff(COUNTS.astype(np.float32), sample_format=3))  # the remedy
    np.testing.assert_array_equal(read_thermal(path), COUNTS.astype(np.float32))
    with pytest.raises(FrameError, match="floating point where an image of 8 bits is needed"):
        read_visible(path)


def test_further_images_of_a_file_are_told(tmp_path, caplog):
    (tmp_path / "one.tif").write_bytes(tiff(COUNTS))
    read_thermal(tmp_path / "one.tif")
    assert not caplog.messages
    (tmp_path / "stack.tif").write_bytes(tiff(COUNTS, pages=3))
    np.testing.assert_array_equal(read_thermal(tmp_path / "stack.tif"), COUNTS)
    assert "several images, such as 'stack.tif': the first alone" in caplog.text


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_image_and_is_told(tmp_path, caplog, form):
    pillow = pytest.importorskip("PIL.Image", reason="writes animations")
    first, second = (pillow.fromarray(np.dstack([each] * 3)) for each in (LEVELS, LEVELS[::-1]))
    path = tmp_path / f"a.{form.lower()}"
    first.save(path, form, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(read_visible(path), np.dstack([LEVELS] * 3))
    assert "the first alone is used" in caplog.text


def test_12_bits_in_a_visible_file_of_16_are_told(tmp_path, caplog):
    path = tmp_path / "a.png"
    path.write_bytes(coded(np.full((60, 80), 255 * 257, np.uint16), ".png"))
    read_visible(path)
    path.write_bytes(coded(LEVELS // 32, ".png"))  # a night, of 8 bits
    read_visible(path)
    assert not caplog.messages
    path.write_bytes(coded(LEVELS.astype(np.uint16) * 16, ".png"))
    read_visible(path)
    assert f"their values end at {16 * int(LEVELS.max())}" in caplog.text


def test_images_of_formats_that_are_not_read_are_told(tmp_path, caplog):
    for name in ("a.png", "b.jp2", "notes.txt"):
        (tmp_path / name).write_bytes(coded(LEVELS, ".png"))
    assert list(images_by_stem(tmp_path)) == ["a"]
    assert "files such as 'b.jp2' are left out" in caplog.text and "notes" not in caplog.text


def write_motion_jpeg(path, frames, stated, rate_hz=10):
    """An AVI without index, from its specification, whose head states a number of frames."""
    chunks = b""
    for frame in frames:
        data = coded(frame, ".jpg")
        chunks += struct.pack("<4sI", b"00dc", len(data)) + data + b"\0" * (len(data) % 2)
    head = struct.pack("<14I", 1000000 // rate_hz, 0, 0, 16, stated, 0, 1, 0, 80, 60, 0, 0, 0, 0)
    stream = struct.pack("<4s4sIHHIIIIIIII4H", b"vids", b"MJPG", 0, 0, 0, 0, 1, rate_hz, 0, stated,
                         0, 0, 0, 0, 0, 80, 60)  # fmt: skip
    form = struct.pack("<IiiHH4sIiiII", 40, 80, 60, 1, 24, b"MJPG", 14400, 0, 0, 0, 0)

    def part(kind, content):
        return struct.pack("<4sI", kind, len(content)) + content

    described = part(b"LIST", b"strl" + part(b"strh", stream) + part(b"strf", form))
    body = part(b"LIST", b"hdrl" + part(b"avih", head) + described)
    path.write_bytes(part(b"RIFF", b"AVI " + body + part(b"LIST", b"movi" + chunks)))


@pytest.mark.parametrize("stated", [20, 60])
def test_a_video_that_ends_before_it_states_is_told(tmp_path, caplog, stated):
    path = tmp_path / "a.avi"
    write_motion_jpeg(path, [np.dstack([LEVELS] * 3)] * 20, stated)
    try:
        video = Video(str(path))
    except FrameError:
        pytest.skip("this OpenCV reads no AVI")
    assert video.frames == stated and len(list(video)) == 20
    assert ("states 6.0 s, and 20 frames of 2.0 s can be read" in caplog.text) == (stated == 60)


def test_a_video_of_a_fast_camera_keeps_its_rate(tmp_path):
    path = tmp_path / "a.avi"
    write_motion_jpeg(path, [np.dstack([LEVELS] * 3)] * 20, 20, rate_hz=480)
    try:
        assert Video(str(path)).rate_hz == pytest.approx(480.0, rel=0.02)
    except FrameError:
        pytest.skip("this OpenCV reads no AVI")


def test_a_video_of_a_variable_rate_has_its_mean_rate(tmp_path):
    """As browsers record: the container states a clock of 1000 Hz."""
    av = pytest.importorskip("av", reason="writes videos of a variable rate")
    from fractions import Fraction

    times_ms = np.cumsum([0] + [30, 30, 140] * 10)
    path = str(tmp_path / "a.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 80, 60, "gray"
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(LEVELS, format="gray")
            frame.pts, frame.time_base = int(time_ms), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = Video(path)
    assert video.rate_hz == pytest.approx(15.0, rel=0.01)
    found_ms = np.array([time_ns for time_ns, _ in video]) / 1e6 - 1e3
    np.testing.assert_allclose(found_ms, times_ms, atol=1.0)
