"""A part of the student is trained, and the rest stays as it is."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from pair_folders import write_pair_folder

from irvis_fusion_core.network.student import create_student_model
from training import train

ONLY = ("--train_only", "head_mix", "controls")


@pytest.fixture
def start(tmp_path):
    write_pair_folder(tmp_path / "train", 4, height=32, width=32)

    def run(name, *more):
        return train.main(
            [
                *("--train_root", str(tmp_path / "train"), "--input_size", "32"),
                *("--batch_size", "2", "--num_workers", "0", "--epochs", "2", "--lr", "3e-3"),
                *("--checkpoint_dir", str(tmp_path / name), "--log_dir", str(tmp_path / "logs")),
                *("--accelerator", "cpu", "--lambda_src_vif", "0", "--threads", "1", *more),
            ]
        )

    return run


def test_only_the_named_parameters_and_their_statistics_change(start, tmp_path, capsys):
    def average(name):
        return torch.load(tmp_path / name / "last.pth", weights_only=True)["average"]

    assert start("whole", *ONLY) == 0
    assert "M of them trained" in capsys.readouterr().out
    torch.manual_seed(0)
    before, after = create_student_model("nano").state_dict(), average("whole")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"head_mix", "controls"}
    assert {"head_mix.1.running_mean", "controls.weight"} <= changed
    # A stop and a resume give the same weights.
    last = ("--resume", str(tmp_path / "half" / "last.pth"))
    assert start("half", *ONLY, "--stop_after_epochs", "1") == 0
    assert start("half", *ONLY, *last) == 0
    assert all(torch.equal(a, b) for a, b in zip(average("half").values(), after.values()))


def test_another_part_is_no_resumed_training_and_unknown_names_are_refused(
    start, tmp_path, capsys
):
    assert start("run", *ONLY, "--max_steps", "1") == 0
    last = ("--resume", str(tmp_path / "run" / "last.pth"))
    assert start("run", "--max_steps", "2", *last) == 1
    message = capsys.readouterr().err
    assert "--train_only" in message and "['head_mix', 'controls'], found all" in message
    assert start("none", *ONLY, "stem") == 1
    message = capsys.readouterr().err
    assert "'stem'" in message and "ir_encoder.stem, " in message and "fusions.0" in message
