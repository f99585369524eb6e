"""Films: what decoders of others make of them."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.film import write_gif, write_mp4

COLOURS = ((13, 200, 77), (14, 200, 77), (255, 0, 1), (13, 200, 77))


def flat_frames(height=20, width=30):
    return [np.full((height, width, 3), colour, np.uint8) for colour in COLOURS]


def decoded(path):
    """Frames as Pillow decodes them, durations in ms, and how often the film repeats."""
    image = pytest.importorskip("PIL.Image", reason="decodes with Pillow").open(path)
    frames, durations_ms, loop = [], [], image.info["loop"]
    for number in range(image.n_frames):
        image.seek(number)
        frames.append(np.array(image.convert("RGB")))
        durations_ms.append(image.info["duration"])
    return frames, durations_ms, loop


def test_flat_frames_come_back_exactly_with_their_time(tmp_path):
    write_gif(tmp_path / "a.gif", flat_frames(), 0.25)
    frames, durations_ms, loop = decoded(tmp_path / "a.gif")
    assert (len(frames), durations_ms, loop) == (4, [250] * 4, 0)
    for frame, expected in zip(frames, flat_frames()):
        assert np.array_equal(frame, expected)


def test_few_colours_come_back_exactly_in_every_frame(tmp_path):
    rng = np.random.default_rng(1)
    given = [rng.integers(0, 4, (30, 41, 3)).astype(np.uint8) * 64 for _ in range(3)]
    write_gif(tmp_path / "a.gif", given, 0.1)
    frames, _, _ = decoded(tmp_path / "a.gif")
    assert np.array_equal(frames, given)


def test_many_colours_come_back_nearly(tmp_path):
    y, x = np.mgrid[0:60, 0:80]
    frame = np.dstack([x * 3, y * 4, (x + y)]).astype(np.uint8)
    write_gif(tmp_path / "a.gif", [frame], 0.1)
    image = pytest.importorskip("PIL.Image", reason="decodes with Pillow").open(tmp_path / "a.gif")
    assert np.abs(np.array(image.convert("RGB")).astype(int) - frame).mean() < 6


@pytest.mark.parametrize("period_s, shown_ms", [(0.001, 20), (0.033, 30), (1.0, 1000)])
def test_times_are_whole_hundredths_and_not_too_short(tmp_path, period_s, shown_ms):
    write_gif(tmp_path / "a.gif", flat_frames(), period_s)
    assert decoded(tmp_path / "a.gif")[1] == [shown_ms] * 4


def test_the_same_frames_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 256, (40, 40, 3)).astype(np.uint8) for _ in range(2)]
    for name in ("a.gif", "b.gif"):
        write_gif(tmp_path / name, frames, 0.1)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_an_mp4_has_every_frame_at_its_rate(tmp_path):
    write_mp4(tmp_path / "a.mp4", flat_frames(33, 65), 0.25)  # odd sides lose one pixel
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(4.0)
    for colour in COLOURS:
        read, frame = video.read()
        assert read and frame.shape == (32, 64, 3)
        assert np.abs(frame[..., ::-1].astype(int) - colour).max() < 12
    assert not video.read()[0]


@pytest.mark.parametrize("write", [write_gif, write_mp4])
def test_frames_of_several_sizes_are_refused(write, tmp_path):
    for frames in ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], []):
        with pytest.raises(FrameError, match="one size"):
            write(tmp_path / "a", frames, 0.1)
    assert list(tmp_path.iterdir()) == []


def test_without_pillow_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ConfigurationError, match="pip install pillow"):
        write_gif(tmp_path / "a.gif", flat_frames(), 0.1)


def test_the_demo_makes_a_film_with_and_without_pillow(tmp_path, monkeypatch, capsys):
    pytest.importorskip("PIL.Image", reason="decodes with Pillow")
    from irvis_fusion_core.commands.demo import write_film

    assert write_film(str(tmp_path), flat_frames()) == "demo.gif"
    assert len(decoded(tmp_path / "demo.gif")[0]) == 4
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert write_film(str(tmp_path), flat_frames()) == "demo.mp4"
    assert "Pillow" in capsys.readouterr().err
    assert (tmp_path / "demo.mp4").stat().st_size > 0
