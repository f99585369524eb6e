"""Videos as people have them; the numbers are those of the table of reported cases."""

import os
from fractions import Fraction

import cv2
import numpy as np
import pytest

from irvis_fusion_core.commands.fuse import main
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.file_formats.video_files import Video
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.thermal.palettes import grey_of

ENGINE = ["--model", "nano", "--backend", "onnxruntime", "--threads", "1", "--quiet"]


@pytest.fixture
def engine(zoo):
    pytest.importorskip("onnxruntime", reason="the CPU engine of these tests")
    return ENGINE


def write_video(path, frames, rate_hz):
    if not hasattr(cv2, "VIDEOWRITER_PROP_IS_COLOR"):
        pytest.skip("this OpenCV writes no grey videos")
    deep, grey = frames[0].dtype == np.uint16, frames[0].ndim == 2
    settings = [cv2.VIDEOWRITER_PROP_IS_COLOR, int(not grey)]
    if deep:
        settings += [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U]
    codec = cv2.VideoWriter_fourcc(*"FFV1")
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate_hz, size, settings)
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no FFV1")
    for frame in frames:
        writer.write(frame)
    writer.release()


def square(time_s, channels):
    """A warm square that moves by 60 pixels a second before both cameras."""
    image = np.full((96, 256, 3)[: 3 if channels == 3 else 2], 60, np.uint8)
    x = int(10 + 60 * time_s)
    image[30:60, x : x + 20] = 230
    return image


def read_all(path):
    return [image for _, image in Video(str(path))]


@pytest.mark.parametrize("ir_hz, vis_hz", [(9, 30), (30, 9), (25, 30)])
def test_b44a_videos_of_different_rates_are_paired_by_time(
    tmp_path, engine, capsys, ir_hz, vis_hz
):
    seconds = 3
    for name, rate, channels in (("ir", ir_hz, 1), ("vis", vis_hz, 3)):
        frames = [square(k / rate, channels) for k in range(seconds * rate)]
        write_video(tmp_path / f"{name}.mkv", frames, rate)
    paths = {name: str(tmp_path / f"{name}.mkv") for name in ("ir", "vis", "out")}
    line = ["--ir", paths["ir"], "--vis", paths["vis"], "--output", paths["out"], *engine]
    assert main(line) == 0
    assert "left out" not in capsys.readouterr().err
    fused = read_all(paths["out"])
    assert len(fused) == seconds * vis_hz
    for number, image in enumerate(fused):
        bright = np.flatnonzero(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[45] > 120)
        # A pair lies up to half a thermal period apart.
        assert np.ptp(bright) < 20 + 60 * 0.5 / ir_hz + 3, number


def test_b44a_a_thermal_video_that_ends_early_is_said(tmp_path, engine, capsys):
    write_video(tmp_path / "ir.mkv", [square(k / 10, 1) for k in range(10)], 10)
    write_video(tmp_path / "vis.mkv", [square(k / 10, 3) for k in range(20)], 10)
    sides = ["--ir", str(tmp_path / "ir.mkv"), "--vis", str(tmp_path / "vis.mkv")]
    assert main([*sides, "--output", str(tmp_path / "out.mkv"), *engine]) == 0
    said = capsys.readouterr().err
    assert "ir.mkv ends before" in said and "7 of 20 frames" in said
    assert len(read_all(tmp_path / "out.mkv")) == 13  # 0.3 s past the last thermal frame


def test_a_16_bit_video_keeps_its_counts(tmp_path):
    counts = [
        np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 3 + 12000 + k for k in range(4)
    ]
    write_video(tmp_path / "raw.mkv", counts, 9)
    found = list(Video(str(tmp_path / "raw.mkv"), thermal=True))
    np.testing.assert_array_equal([image for _, image in found], counts)
    times = np.array([time_ns for time_ns, _ in found]) / 1e9
    np.testing.assert_allclose(times, 1 + np.arange(4) / 9, atol=0.002)


def write_deep(path, counts, form, times_ms=None):
    av = pytest.importorskip("av", reason="writes and reads videos above 8 bits")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        for number, image in enumerate(counts):
            frame = av.VideoFrame(64, 48, form)
            frame.pts = times_ms[number] if times_ms else 100 * number
            frame.time_base = Fraction(1, 1000)
            for place, plane in enumerate(frame.planes):
                rows = np.full((plane.height, plane.line_size // 2), 512, np.uint16)
                rows[:, : plane.width] = image if place == 0 else 512
                plane.update(rows.tobytes())
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def test_counts_have_the_times_of_their_own_frames(tmp_path):
    """OpenCV and PyAV may give other numbers of frames: each count has the time of its frame."""
    counts = [np.full((48, 64), 100 * k, np.uint16) for k in range(5)]
    times_ms = [0, 40, 300, 320, 1000]
    write_deep(tmp_path / "deep.mkv", counts, "gray12le", times_ms)
    video = Video(str(tmp_path / "deep.mkv"), thermal=True)
    video._video.read()  # OpenCV is a frame further
    found = list(video)
    assert [(round(ns / 1e6) - 1000, int(image[0, 0])) for ns, image in found] == [
        (time_ms, 100 * k) for k, time_ms in enumerate(times_ms)
    ]


def test_what_pyav_cannot_read_is_an_error_of_the_file(tmp_path):
    write_deep(tmp_path / "deep.mkv", [np.zeros((48, 64), np.uint16)], "gray12le")
    video = Video(str(tmp_path / "deep.mkv"), thermal=True)
    (tmp_path / "deep.mkv").write_bytes(b"another program writes it anew")
    with pytest.raises(FrameError, match=r"expected a thermal video in .*deep\.mkv, found"):
        list(video)


@pytest.mark.parametrize("form", ["gray10le", "gray12le", "yuv420p10le"])
def test_a_video_of_10_or_12_bits_keeps_its_counts_or_is_refused(tmp_path, monkeypatch, form):
    bits = int(form.rstrip("le")[-2:])
    counts = [
        (np.arange(48 * 64).reshape(48, 64) + 5 * k).astype(np.uint16) % (1 << bits)
        for k in range(3)
    ]
    write_deep(tmp_path / "deep.mkv", counts, form)
    found = [image for _, image in Video(str(tmp_path / "deep.mkv"), thermal=True)]
    np.testing.assert_array_equal(found, counts)
    whole = (tmp_path / "deep.mkv").read_bytes()
    assert b"Lavf" in whole
    (tmp_path / "named.mkv").write_bytes(whole.replace(b"Lavf", b"\xffavf"))  # no UTF-8
    found = [image for _, image in Video(str(tmp_path / "named.mkv"), thermal=True)]
    np.testing.assert_array_equal(found, counts)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(FrameError, match=f"found {bits} bits .*pip install av.*gray16le"):
        list(Video(str(tmp_path / "deep.mkv"), thermal=True))


def test_a_thermal_video_in_false_colours_is_turned_into_grey(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (96, 1))
    write_video(tmp_path / "ir.mkv", [cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)] * 3, 10)
    to_grey = lambda bgr: grey_of(bgr).grey  # noqa: E731
    for _, image in Video(str(tmp_path / "ir.mkv"), thermal=True, to_grey=to_grey):
        assert np.abs(image.astype(int) - ramp).max() < 16
        assert np.abs(image.astype(int) - ramp).mean() < 4


def test_b45_videos_whose_names_are_not_utf_8(tmp_path, engine):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/f\xfc")
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for name, channels in (("ir", 1), ("vis", 3)):
        write_video(tmp_path / f"{name}.mkv", [square(k / 10, channels) for k in range(3)], 10)
        os.replace(tmp_path / f"{name}.mkv", os.path.join(folder, name + ".mkv"))
    paths = {name: os.path.join(folder, name + ".mkv") for name in ("ir", "vis", "out")}
    line = ["--ir", paths["ir"], "--vis", paths["vis"], "--output", paths["out"], *engine]
    assert main(line) == 0
    assert len(read_all(paths["out"])) == 3


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(FrameError, match="expected a video"):
        Video(str(tmp_path / "a.mp4"))


def write_pair(tmp_path, ir):
    vis = square(0.5, 3)
    write_image(tmp_path / "ir.png", ir)
    write_image(tmp_path / "vis.png", vis)
    sides = ["--ir", str(tmp_path / "ir.png"), "--vis", str(tmp_path / "vis.png")]
    return vis, [*sides, "--output", str(tmp_path / "out.png")]


def test_fuse_turns_false_colours_into_grey_as_the_node_does(tmp_path, engine):
    warm = np.tile(np.linspace(20, 250, 256).astype(np.uint8), (96, 1))
    _, line = write_pair(tmp_path, warm)
    fused = {}
    coloured = cv2.applyColorMap(warm, cv2.COLORMAP_JET)
    for name, image, more in (
        ("grey", warm, []),
        ("auto", coloured, []),
        ("luma", coloured, ["--palette", "grey"]),
    ):
        write_image(tmp_path / "ir.png", image)
        assert main([*line, *more, *engine]) == 0
        fused[name] = cv2.imread(str(tmp_path / "out.png")).astype(int)
    assert np.abs(fused["auto"] - fused["grey"]).mean() < 3
    assert np.abs(fused["luma"] - fused["grey"]).mean() > 10


def test_fuse_resizes_the_thermal_image_as_the_node_does(tmp_path, engine):
    small = cv2.resize(square(0.5, 1), (128, 48), interpolation=cv2.INTER_AREA)
    vis, line = write_pair(tmp_path, small)
    assert main([*line, *engine]) == 0
    assert cv2.imread(str(tmp_path / "out.png")).shape == vis.shape


def test_fuse_warps_by_the_parameter_file_of_the_node(tmp_path, engine):
    vis, line = write_pair(tmp_path, square(0.5, 1)[:, 28:228])
    parameters = tmp_path / "fusion.yaml"
    parameters.write_text(
        "/**:\n  ros__parameters:\n    registration:\n      mode: homography\n"
        "      homography: [1.0, 0.0, 28.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]\n"
        "      calibrated_ir_size: [96, 200]\n      calibrated_vis_size: [96, 256]\n"
        "      soft_edge_px: 0.0\n"
    )
    assert main([*line, "--registration", str(parameters), *engine]) == 0
    fused = cv2.imread(str(tmp_path / "out.png"))
    np.testing.assert_array_equal(fused[:, :27], vis[:, :27])  # no thermal image there
    bright = np.flatnonzero(cv2.cvtColor(fused, cv2.COLOR_BGR2GRAY)[45] > 120)
    assert np.ptp(bright) < 23
