"""The ablation: which arms, and a run of two of them on tiny images."""

import argparse
import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="training needs Lightning: pip install '.[train]'")

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.metrics import score_pair
from irvis_fusion_core.thermal import ThermalRescale
from training import ablation


def options(teachers, weighted=(), both=False, arms=()):
    chosen = {"teacher": list(teachers), "weighted": list(weighted), "arms": list(arms)}
    return argparse.Namespace(**chosen, both=both)


def test_arms_differ_in_their_teacher_only(tmp_path):
    arms = ablation.plan(options([f"a={tmp_path}", f"b={tmp_path}"], ["b"]))
    assert list(arms) == ["sources", "a", "b"]
    # The crops of all arms are the same: they follow from the images that a scene has.
    assert {folder for folder, _ in arms.values()} == {tmp_path}
    assert arms["sources"][1]["lambda_pix"] == arms["sources"][1]["lambda_ssim"] == 0.0
    assert ablation.plan(options([]))["sources"][0] is None
    assert arms["a"][1] == {**arms["b"][1], "variance_noise": 0.0}
    assert not any(name.startswith("lambda_src") for name in arms["a"][1])
    both = ablation.plan(options([f"a={tmp_path}"], both=True))["sources+a"][1]
    assert both["lambda_pix"] == 1.0 and both["lambda_src_ssim"] > 0.0
    chosen = ablation.plan(options([f"a={tmp_path}"], arms=["sources+a", "sources"]))
    assert list(chosen) == ["sources", "sources+a"]
    with pytest.raises(ConfigurationError, match="--arms out of sources, a, sources.a"):
        ablation.plan(options([f"a={tmp_path}"], arms=["b"]))


@pytest.mark.parametrize("teachers, weighted", [(["a"], []), (["a=/nowhere"], []), ([], ["a"])])
def test_wrong_teachers_are_named(teachers, weighted):
    with pytest.raises(ConfigurationError, match="expected --"):
        ablation.plan(options(teachers, weighted))


def test_a_run_makes_table_and_sheet(tmp_path, capsys):
    rng = np.random.default_rng(0)
    train, val, video = tmp_path / "train", tmp_path / "set" / "val", tmp_path / "video"
    for side in ("IR", "VIS"):  # two frames of a scene that stands still
        (video / side).mkdir(parents=True)
        still = cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (72, 64))
        for stem in "12":
            cv2.imwrite(str(video / side / f"{stem}.png"), still)
    for folder in (train / "IR", train / "VIS", train / "TEACHER_FUSED", val / "IR", val / "VIS"):
        folder.mkdir(parents=True)
        for stem in ("a", "b"):
            if folder.parent == val:
                stem += "_val"
            small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"{stem}.png"), cv2.resize(small, (72, 64)))
    arguments = [
        *("--train_root", str(train), "--val_root", str(val), "--accelerator", "cpu"),
        *("--teacher", f"drawn={train / 'TEACHER_FUSED'}", "--output", str(tmp_path / "out")),
        *("--max_steps", "2", "--input_size", "48", "--batch_size", "2", "--video", str(video)),
    ]
    assert ablation.main(arguments) == 0
    scores = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert list(scores) == ["maximum", "mean", "sources", "drawn"]
    expected = []
    for stem in ("a_val", "b_val"):
        ir, vis = (cv2.imread(str(val / side / f"{stem}.png"), 0) for side in ("IR", "VIS"))
        ir = ThermalRescale(smoothing_s=0.0)(ir)  # as the node shows it to the network
        colour = cv2.cvtColor(cv2.imread(str(val / "VIS" / f"{stem}.png")), cv2.COLOR_BGR2GRAY)
        expected.append(score_pair(np.maximum(ir, colour), ir, colour, ["Qabf"])["Qabf"])
    assert scores["maximum"]["set"]["Qabf"] == pytest.approx(np.mean(expected))
    assert "| drawn |" in (tmp_path / "out" / "ablation.md").read_text()
    assert cv2.imread(str(tmp_path / "out" / "sheet.png")).shape[1] == 6 * 320
    noisy = scores["maximum"]["set, noisy"]
    assert noisy["SSIM255"] < scores["maximum"]["set"]["SSIM255"]
    # A displaced thermal image is compared with the one in its place; flicker is the video's.
    assert scores["maximum"]["set, 4 px"]["SSIM"] < scores["maximum"]["set"]["SSIM"]
    assert set(scores["drawn"]["flicker"]) == {"video"}
    assert scores["maximum"]["flicker"]["video"] == pytest.approx(0.0, abs=0.1)
    assert "| flicker | video |" in (tmp_path / "out" / "ablation.md").read_text()
    # Trained arms are kept.
    before = (tmp_path / "out" / "drawn" / "nano.safetensors").stat().st_mtime_ns
    assert ablation.main(arguments) == 0
    assert (tmp_path / "out" / "drawn" / "nano.safetensors").stat().st_mtime_ns == before
    # A second seed of one arm: the mean of both, and half of their distance.
    assert ablation.main([*arguments, "--seeds", "2", "--arms", "drawn"]) == 0
    both = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert list(both) == ["maximum", "mean", "drawn"]
    alone = ["--seed", "1", "--arms", "drawn", "--output", str(tmp_path / "second")]
    assert ablation.main([*arguments, *alone]) == 0
    second = json.loads((tmp_path / "second" / "ablation.json").read_text())
    values = [found["drawn"]["set"]["SD"] for found in (scores, second)]
    assert both["drawn"]["set"]["SD"] == pytest.approx(np.mean(values))
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert f"{np.mean(values):.2f} ±{abs(np.diff(values)[0]) / 2:.2f} |" in table


def test_a_displaced_image_is_moved_by_four_pixels():
    ir = np.zeros((41, 41), np.uint8)
    ir[20, 20] = 255
    for number in range(5):
        moved = ablation.displaced(ir, number).astype(np.float64)
        place = np.array(np.unravel_index(moved.argmax(), moved.shape))
        assert np.hypot(*(place - 20)) == pytest.approx(ablation.SHIFT, abs=0.8)


def test_a_video_needs_frames(tmp_path):
    for side in ("IR", "VIS"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.zeros((40, 40), np.uint8))
    with pytest.raises(ConfigurationError, match="expected frames of a video in .*, found 1"):
        ablation.flicker({}, tmp_path)
