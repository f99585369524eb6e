"""The evaluation's figures against the metrics themselves, its files, and bad input."""

import csv
import json
import re
import sys

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime", reason="needs an engine: pip install '.[onnx]'")

from pair_folders import write_pair_folder
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from irvis_fusion_core import RealtimeFusion, create_student_model, metrics
from irvis_fusion_core.network.checkpoint import save_checkpoint
from training import eval as evaluation
from training.evaluation.eval_report import speed_of
from training.evaluation.scores import SOURCE_METRICS


def grey_mean(ir, vis):
    return ((ir.astype(np.float32) + cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY)) / 2).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A student that is far from copying a source: random heads."""
    torch.manual_seed(3)
    model = create_student_model("nano")
    torch.nn.init.normal_(model.controls.weight, std=0.05)
    path = tmp_path_factory.mktemp("checkpoint") / "best_model.safetensors"
    save_checkpoint(model, path)
    torch.save(model.state_dict(), path.with_suffix(".pth"))
    return path


@pytest.fixture
def data(tmp_path):
    return write_pair_folder(tmp_path / "data" / "test", 3, grey_mean)


def run(checkpoint, data, save_dir, *more):
    arguments = ["--checkpoint", checkpoint, "--data_root", data, "--save_dir", save_dir]
    arguments += ["--device", "cpu", "--num_workers", 1, *more]
    return evaluation.main([str(argument) for argument in arguments])


def figures(save_dir):
    """(image, fusion) -> metric -> figure, of the CSV."""
    with open(save_dir / "per_image.csv") as stream:
        return {(row["image"], row["fusion"]): row for row in csv.DictReader(stream)}


def test_figures_are_those_of_the_metrics_on_the_fused_images(checkpoint, data, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, data, out, "--save_fused") == 0
    rows = figures(out)
    assert {fusion for _, fusion in rows} == {"fused", "maximum", "mean", "visible", "IR"}
    ir = cv2.imread(str(data / "IR" / "p1.png"), cv2.IMREAD_GRAYSCALE)
    vis = cv2.imread(str(data / "VIS" / "p1.png"))[:, :, ::-1].copy()
    fused = cv2.imread(str(out / "fused" / "p1.png"))[:, :, ::-1].copy()
    y = metrics.luminance(vis)
    for fusion, image in (("fused", fused), ("maximum", np.maximum(ir, y)), ("IR", ir)):
        expected = metrics.score_pair(image, ir, y, SOURCE_METRICS)
        found = {name: float(rows["p1", fusion][name]) for name in SOURCE_METRICS}
        assert found == pytest.approx(expected)
    teacher = cv2.imread(str(data / "TEACHER_FUSED" / "p1.png"), cv2.IMREAD_GRAYSCALE)
    f = metrics.luminance(fused)
    assert float(rows["p1", "fused"]["ssim_teacher"]) == pytest.approx(
        structural_similarity(f, teacher, data_range=255), abs=1e-6
    )
    assert float(rows["p1", "fused"]["psnr_teacher"]) == pytest.approx(
        peak_signal_noise_ratio(teacher, f, data_range=255)
    )


def test_summary_holds_the_means_and_why_a_figure_is_missing(checkpoint, data, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, data, out) == 0
    summary = json.loads((out / "summary.json").read_text())
    rows = figures(out)
    for fusion, means in summary["means"].items():
        for name, mean in means.items():
            expected = np.mean([float(rows[f"p{n}", fusion][name]) for n in range(3)])
            assert mean == pytest.approx(expected)
    assert summary["pairs"] == summary["pairs_with_teacher"] == 3
    assert "alexnet" in summary["not_computed"]["lpips_teacher"]
    text = (out / "summary.md").read_text()
    assert "| maximum |" in text and "lpips_teacher: not computed" in text


def test_without_a_teacher_the_sources_remain(checkpoint, tmp_path):
    data, out = write_pair_folder(tmp_path / "data", 1), tmp_path / "out"
    assert run(checkpoint, data, out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["means"]["fused"]) == list(SOURCE_METRICS)
    assert all("TEACHER_FUSED" in why for why in summary["not_computed"].values())


def test_equal_images_keep_the_table_finite(checkpoint, tmp_path):
    """The teacher is the maximum, so the row of that name has no error at all."""
    data, out = tmp_path / "data", tmp_path / "out"
    write_pair_folder(data, 1, lambda ir, vis: np.maximum(ir, cv2.cvtColor(vis, 6)))
    assert run(checkpoint, data, out) == 0
    text = (out / "summary.json").read_text()
    summary = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert summary["means"]["maximum"]["psnr_teacher"] == 100.0
    assert summary["means"]["maximum"]["ssim_teacher"] == pytest.approx(1.0)


def test_batches_and_mixed_sizes_change_nothing(checkpoint, data, tmp_path):
    for side in ("IR", "VIS", "TEACHER_FUSED"):
        path = str(data / side / "p1.png")
        cv2.imwrite(path, cv2.imread(path, cv2.IMREAD_UNCHANGED)[:50, :60])
    assert run(checkpoint, data, tmp_path / "one") == 0
    assert run(checkpoint, data, tmp_path / "three", "--batch_size", 3) == 0
    one, three = (figures(tmp_path / name) for name in ("one", "three"))
    assert one.keys() == three.keys()
    for key, row in one.items():
        for name in SOURCE_METRICS:
            assert float(three[key][name]) == pytest.approx(float(row[name]), abs=2e-3), name


def test_teacher_samples_count_as_their_mean(checkpoint, data, tmp_path):
    only = cv2.imread(str(data / "TEACHER_FUSED" / "p0.png"), cv2.IMREAD_GRAYSCALE)
    (data / "TEACHER_FUSED" / "p0.png").unlink()
    for number, shift in enumerate((-6, 0, 6)):
        sample = (only.clip(6, 249).astype(np.int16) + shift).astype(np.uint8)
        cv2.imwrite(str(data / "TEACHER_FUSED" / f"p0_{number}.png"), sample)
    assert run(checkpoint, data, tmp_path / "out", "--save_fused") == 0
    fused = metrics.luminance(cv2.imread(str(tmp_path / "out" / "fused" / "p0.png"))[:, :, ::-1])
    expected = peak_signal_noise_ratio(only.clip(6, 249), fused, data_range=255)
    found = float(figures(tmp_path / "out")["p0", "fused"]["psnr_teacher"])
    assert found == pytest.approx(expected)


def test_sheets_show_ir_vis_teacher_and_fused(checkpoint, data, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, data, out, "--sheets", 2, "--save_fused") == 0
    sheets = sorted(path.name for path in (out / "sheets").iterdir())
    assert sheets == ["p0.png", "p1.png"]
    image = cv2.imread(str(out / "sheets" / "p1.png"))
    columns = np.split(image[-64:], 4, axis=1)
    ir = cv2.imread(str(data / "IR" / "p1.png"))
    assert np.array_equal(columns[0], ir)
    assert np.array_equal(columns[1], cv2.imread(str(data / "VIS" / "p1.png")))
    assert np.array_equal(columns[3], cv2.imread(str(out / "fused" / "p1.png")))


def test_lpips_stands_in_the_table_where_its_weights_are(
    checkpoint, data, tmp_path, monkeypatch, capsys
):
    class Distance:
        def __call__(self, a, b):
            assert a.shape == b.shape == (64, 64) and a.dtype == b.dtype == np.uint8
            return float(np.abs(a.astype(float) - b).mean()) / 255.0

    monkeypatch.setattr(evaluation, "open_lpips", lambda *files: Distance())
    assert run(checkpoint, data, tmp_path / "out") == 0
    rows = figures(tmp_path / "out")
    assert float(rows["p0", "fused"]["lpips_teacher"]) > 0.0
    assert float(rows["p0", "mean"]["lpips_teacher"]) < 0.01  # the teacher is the mean
    assert "not computed" not in capsys.readouterr().out


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    """Neither torch.hub's cache nor torchvision: no test downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setitem(sys.modules, "torchvision", None)


def test_missing_lpips_weights_are_named(checkpoint, data, tmp_path, capsys):
    assert run(checkpoint, data, tmp_path / "out", "--lpips_net", "vgg") == 0
    printed = capsys.readouterr().err
    assert "vgg16" in printed and "--lpips_backbone" in printed


def test_speed_block_is_printed_as_described(checkpoint, data, tmp_path, capsys):
    more = ("--benchmark_speed", "--input_size", 32, "--benchmark_runs", 3)
    assert run(checkpoint, data, tmp_path / "out", *more) == 0
    printed = capsys.readouterr().out
    number = r"\d+\.\d\d"
    assert re.search(
        rf"Inference Time Statistics:\n  Mean: {number} ± {number} ms\n  Min: {number} ms\n"
        rf"  Max: {number} ms\n  Median: {number} ms\n  FPS: {number}\n",
        printed,
    )
    speed = json.loads((tmp_path / "out" / "summary.json").read_text())["speed"]
    assert (speed["width"], speed["height"], speed["runs"]) == (32, 32, 3)


def test_speed_figures_in_closed_form():
    speed = speed_of([0.010, 0.020, 0.040, 0.010], 640, 480)
    assert (
        speed["mean_ms"],
        speed["min_ms"],
        speed["max_ms"],
        speed["median_ms"],
    ) == pytest.approx((20.0, 10.0, 40.0, 15.0))
    assert speed["std_ms"] == pytest.approx(np.sqrt(150.0)) and speed["fps"] == pytest.approx(50.0)


def test_pth_needs_no_variant_and_another_is_refused(checkpoint, data, tmp_path, capsys):
    pth = checkpoint.with_suffix(".pth")
    assert run(pth, data, tmp_path / "out") == 0
    for path in (checkpoint, pth):
        assert run(path, data, tmp_path / "no", "--variant", "small") == 1
        assert "another variant" in capsys.readouterr().err
    torch.save({"weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    assert run(tmp_path / "foreign.pth", data, tmp_path / "no") == 1
    assert "fit none" in capsys.readouterr().err
    pth.with_name("cut.pth").write_bytes(pth.read_bytes()[:1000])
    assert run(pth.with_name("cut.pth"), data, tmp_path / "no") == 1
    assert "not a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("fault", ["truncated", "teacher size", "lonely", "empty"])
def test_bad_images_are_named_before_anything_is_fused(fault, checkpoint, data, tmp_path, capsys):
    victim = data / ("VIS" if fault == "truncated" else "TEACHER_FUSED") / "p1.png"
    if fault == "truncated":
        victim.write_bytes(victim.read_bytes()[:-60])
    elif fault == "teacher size":
        cv2.imwrite(str(victim), np.zeros((32, 32), np.uint8))
    elif fault == "lonely":
        victim = data / "IR" / "p1.png"
        victim.unlink()
    else:
        for path in data.glob("*/*"):
            path.unlink()
    assert run(checkpoint, data, tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert printed.startswith("training.eval: ") and "Traceback" not in printed
    assert ("no usable pair" if fault == "empty" else "p1") in printed
    assert not (tmp_path / "out").exists()
    if fault != "empty":
        assert run(checkpoint, data, tmp_path / "out", "--skip_bad") == 0
        assert {name for name, _ in figures(tmp_path / "out")} == {"p0", "p2"}


def test_a_disk_that_refuses_is_one_clear_line(checkpoint, data, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert run(checkpoint, data, tmp_path / "file" / "out") == 1
    assert "name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--batch_size", "--num_workers", "--benchmark_runs"])
def test_counts_below_one_are_refused(option, checkpoint, data, tmp_path, capsys):
    assert run(checkpoint, data, tmp_path / "out", option, 0) == 1
    assert option in capsys.readouterr().err


def test_exported_file_has_the_checkpoints_figures(checkpoint, data, tmp_path):
    """Within rounding: a pixel in a thousand may fall to the other side of a half."""
    from irvis_fusion_core.network.checkpoint import load_checkpoint
    from irvis_fusion_core.network.export import export_to_onnx

    onnx = export_to_onnx(load_checkpoint(checkpoint), tmp_path / "model.onnx")
    assert run(checkpoint, data, tmp_path / "a", "--save_fused") == 0
    assert run(onnx, data, tmp_path / "b", "--save_fused", "--backend", "onnxruntime") == 0
    a, b = (json.loads((tmp_path / x / "summary.json").read_text())["means"] for x in "ab")
    assert a.keys() == b.keys()
    for fusion, row in a.items():
        assert b[fusion] == pytest.approx(row, abs=5e-3), fusion
    assert run(onnx, data, tmp_path / "c", "--variant", "small", "--backend", "onnxruntime") == 1
    # And those are the images that RealtimeFusion gives a robot.
    with RealtimeFusion(str(onnx), "onnxruntime", threads=1) as fusion:
        ir = cv2.imread(str(data / "IR" / "p2.png"), cv2.IMREAD_GRAYSCALE)
        fused = fusion.fuse_frame(ir, cv2.imread(str(data / "VIS" / "p2.png")), "bgr")
    assert np.array_equal(fused, cv2.imread(str(tmp_path / "b" / "fused" / "p2.png")))
