"""The table of what limiting flicker does: two rows a model, on images written here."""

import cv2
import numpy as np
import pytest

from benchmarks import flicker_limiter
from benchmarks.shared import fusions
from benchmarks.shared.pairs import read_pairs
from irvis_fusion_core.metrics import luminance


class Pumping:
    """A fusion that is brighter every second time."""

    def __init__(self, model, backend, thermal, threads):
        self.calls = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """Hold nothing."""

    def fuse_frame(self, ir, vis, order):
        self.calls += 1
        return vis + np.uint8(16 * (self.calls % 2))


@pytest.fixture
def video(tmp_path):
    rng = np.random.default_rng(0)
    for name, channels in (("IR", 1), ("VIS", 3)):
        (tmp_path / "still" / name).mkdir(parents=True)
        image = rng.integers(40, 200, (64, 96, channels), dtype=np.uint8)
        for number in range(6):
            cv2.imwrite(str(tmp_path / "still" / name / f"{number}.png"), image)
    return tmp_path


def test_a_model_has_a_row_as_it_is_and_one_limited(video, monkeypatch, capsys):
    monkeypatch.setattr(fusions, "RealtimeFusion", Pumping)
    flicker_limiter.main(["--data", str(video), "--sets", "still", "--model", "pumping"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "**still, 6 frames of 96x64**"
    rows = {cells[1].strip(): cells[2:-1] for cells in (line.split("|") for line in lines[4:])}
    assert list(rows) == ["maximum", "pumping", "pumping, limit_flicker"]
    flicker = {name: float(cells[0]) for name, cells in rows.items()}
    assert flicker["maximum"] == 0.0 and flicker["pumping"] == pytest.approx(16.0)
    assert flicker["pumping, limit_flicker"] < 1.0
    assert rows["pumping"][-1].strip() == "" and rows["pumping, limit_flicker"][
        -1
    ].strip().endswith("%")


def test_the_plain_row_is_not_touched_by_limiting(video):
    frames = list(read_pairs(video, "still"))
    pumping = Pumping("", "", None, 1)
    plain, limited, shares = flicker_limiter.fuse_video(
        lambda pair: pumping.fuse_frame(pair.ir, pair.vis, "rgb"), frames
    )
    for number, (image, frame) in enumerate(zip(plain, frames)):
        expected = luminance(frame.vis + np.uint8(16 * ((number + 1) % 2)))
        np.testing.assert_array_equal(image, expected)
    assert np.ptp([image.mean() for image in limited]) < 1.5 and len(shares) == 5


def test_a_single_frame_is_no_video(video, capsys):
    with pytest.raises(SystemExit):
        flicker_limiter.main(["--data", str(video), "--sets", "still", "--limit", "1"])
    assert "at least two frames" in capsys.readouterr().err
