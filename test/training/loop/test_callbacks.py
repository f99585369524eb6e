"""Which model is kept as the best, and what is said where none can be."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from pair_folders import write_pair_folder

from training import train
from training.loop import lightning_module
from training.loop.validation import score_batch


@pytest.fixture
def folder(tmp_path):
    write_pair_folder(tmp_path / "train", 4)
    write_pair_folder(tmp_path / "val", 2)
    return tmp_path


def start(folder, *more):
    """Two epochs of one step, by two cheap terms."""
    weights = ("ssim", "qabf", "vif", "noise", "colour", "flicker")
    return train.main(
        [
            *("--train_root", str(folder / "train"), "--val_root", str(folder / "val")),
            *("--input_size", "48", "--batch_size", "4", "--epochs", "2", "--num_workers", "0"),
            *("--checkpoint_dir", str(folder / "run"), "--log_dir", str(folder / "logs")),
            *("--accelerator", "cpu", "--threads", "1", "--ema", "0", *more),
            *(text for name in weights for text in (f"--lambda_src_{name}", "0")),
        ]
    )


def figures(monkeypatch, *values):
    """Give each validation the next of these figures, whatever the images."""
    rest = [value for value in values for _ in range(2)]

    def scored(student, batch, *more):
        row = score_batch(student, batch, *more)
        return {**row, "quality": rest.pop(0)}

    monkeypatch.setattr(lightning_module, "score_batch", scored)


def best(folder, name="best_model"):
    return json.loads((folder / "run" / f"{name}.json").read_text())


def test_a_figure_that_is_no_number_stops_and_names_the_images(folder, monkeypatch, capsys):
    figures(monkeypatch, 3.0, 4.0, float("nan"))
    assert start(folder) == 1
    shown = capsys.readouterr().err
    assert "expected a finite quality" in shown and "at step 2 in 2 images" in shown
    assert str(folder / "val" / "VIS" / "p0.png") in shown and "look at these images" in shown
    assert best(folder)["score"] == 4.0
    # What was saved before stays, and can be resumed.
    monkeypatch.undo()
    assert torch.load(folder / "run" / "last.pth", weights_only=True)["global_step"] == 1
    assert start(folder, "--resume", str(folder / "run" / "last.pth")) == 0


def test_weights_that_are_no_numbers_are_the_cause(folder, monkeypatch, capsys):
    def broken(student, batch, *more):
        row = score_batch(student, batch, *more)
        student.controls.bias.data.fill_(float("nan"))
        return {**row, "quality": float("nan")}

    monkeypatch.setattr(lightning_module, "score_batch", broken)
    assert start(folder, "--use_amp") == 1
    shown = capsys.readouterr().err
    assert "weights are not finite (controls.bias)" in shown and "--use_amp" in shown


def test_it_is_said_where_training_brought_nothing(folder, monkeypatch, capsys):
    figures(monkeypatch, 5.0, 4.0, 4.5)
    assert start(folder) == 0
    assert "no validation was better than the start: quality 5.000, then 4.500" in (
        capsys.readouterr().out
    )
    # The best of the trained ones is kept all the same.
    assert best(folder)["step"] == 2


def test_a_best_model_of_another_figure_is_never_overwritten(folder, monkeypatch, capsys):
    figures(monkeypatch, 3.0, 4.0, 5.0)
    assert start(folder, "--stop_after_epochs", "1") == 0
    kept = (folder / "run" / "best_model.pth").read_bytes()
    again = ("--resume", str(folder / "run" / "last.pth"))
    assert start(folder, *again, "--monitor", "SCD") == 0
    assert "--monitor was quality, is SCD" in capsys.readouterr().out
    assert (folder / "run" / "best_model.pth").read_bytes() == kept
    assert best(folder)["monitor"] == "quality" and best(folder)["score"] == 4.0
    assert best(folder, "best_model_SCD")["monitor"] == "SCD"
    assert (folder / "run" / "best_model_SCD.safetensors").is_file()


def test_teacher_images_that_appear_do_not_change_a_resumed_run(folder, capsys):
    assert start(folder, "--stop_after_epochs", "1") == 0
    kept = {p.name: p.read_bytes() for p in (folder / "run").iterdir() if p.is_file()}
    for part in ("train", "val"):
        count = 4 if part == "train" else 2
        write_pair_folder(folder / part, count, teacher=lambda ir, vis: ir)
    again = ("--resume", str(folder / "run" / "last.pth"))
    # Deep features are not the subject; any network would do.
    assert start(folder, *again, "--lambda_perc", "0", "--lambda_feat", "0") == 0
    assert "losses was" in capsys.readouterr().out  # asked for by name: said, and done
    for name, data in kept.items():
        (folder / "run" / name).write_bytes(data)
    assert start(folder, *again) == 1
    shown = capsys.readouterr().err
    assert "expected the losses of the training that is resumed" in shown
    assert "TEACHER_FUSED/ appeared or are gone" in shown
    assert (folder / "run" / "best_model.pth").read_bytes() == kept["best_model.pth"]


def test_a_partly_taught_folder_trains_its_taught_pairs(folder, capsys):
    write_pair_folder(folder / "train", 4, teacher=lambda ir, vis: ir)
    for name in ("p1", "p3"):
        (folder / "train" / "TEACHER_FUSED" / f"{name}.png").unlink()
    taught = ("--lambda_perc", "0", "--lambda_feat", "0", "--overwrite")
    assert start(folder, *taught) == 0
    shown = capsys.readouterr().out
    assert shown.count("2 pairs without a teacher image are left out") == 1
    rows = [json.loads(row) for row in (folder / "run" / "training.jsonl").open()]
    assert all("pix" in row for row in rows)
    assert start(folder, *taught, "--lambda_src_scd", "1") == 0
    shown = capsys.readouterr().out
    assert "left out" not in shown and "scd" in shown


def test_crops_larger_than_the_images_are_pointed_out(folder, capsys):
    assert start(folder, "--input_size", "96", "--max_steps", "1") == 0
    shown = capsys.readouterr().out
    assert "--input_size 96 is more than the images of" in shown and "--input_size 64 is" in shown
