"""Every training command of docs/training.md, small: it runs, and it ends better than it began."""

import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="needs Lightning: pip install '.[train]'")

from real_data import data_root

from irvis_fusion_core.commands import fuse
from irvis_fusion_core.demo.night_street import NightStreet
from training import find_lr, train

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
# Options that make a run small, or fit for one process; all others are as the page has them.
SMALL = {
    "input_size": 64,
    "batch_size": 4,
    "samples_per_epoch": 32,
    "max_steps": -1,
    "lr_warmup_steps": 2,
    "num_workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "devices": 1,
    "strategy": "auto",
    "log_freq": 8,
    "ema": 0.5,
}


def commands(program):
    """The commands of a program in the page's blocks, as lists of words; not those cut short."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [line for line in lines if program in line and not line.lstrip().startswith("#")]
    return [shlex.split(line.partition(program)[2]) for line in found if "..." not in line]


TRAINING = commands("-m training.train ")


def value(command, name, otherwise=None):
    return command[command.index(name) + 1] if name in command else otherwise


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder in which the page's commands run, in their order."""
    folder = tmp_path_factory.mktemp("page")
    for part, count in (("train", 8), ("val", 2), ("test", 2)):
        for side in ("IR", "VIS"):
            (folder / "data" / part / side).mkdir(parents=True)
        for n in range(count):
            frame = NightStreet(160, 128, seed=n + 10 * len(part)).frame(0.7 * n)
            cv2.imwrite(str(folder / "data" / part / "IR" / f"bag_{n}.png"), frame.ir)
            vis = cv2.cvtColor(frame.vis, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / "data" / part / "VIS" / f"bag_{n}.png"), vis)
    (folder / "data" / "boxes").mkdir()
    (folder / "data" / "boxes" / "bag_1.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (folder / "irvis_fusion_core").symlink_to(ROOT / "irvis_fusion_core")
    return folder


def test_the_page_has_the_examples_that_are_run():
    assert len(TRAINING) == 5 and len(commands("-m training.find_lr ")) == 1
    assert [bool(value(command, "--resume")) for command in TRAINING].count(True) == 1


@pytest.mark.parametrize("command", TRAINING, ids=lambda c: value(c, "--checkpoint_dir"))
def test_a_training_example_ends_better_than_it_began(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    if value(command, "--detector"):
        if importlib.util.find_spec("onnx2torch") is None:
            pytest.skip("onnx2torch is missing")
        # A detector that knows nothing can only do harm: the page means a trained one.
        trained = data_root().parent / "detectors" / value(command, "--detector")
        if not trained.is_file():
            pytest.skip(f"needs {trained}")
        shutil.copy(trained, place)
    run = place / value(command, "--checkpoint_dir")
    teach(place, run.name == "taught")
    if value(command, "--resume") and not (place / value(command, "--resume")).is_file():
        pytest.skip("needs the example that it resumes")
    small = [word for name, number in SMALL.items() for word in (f"--{name}", str(number))]
    # 12 epochs of the page become 3, 13 become 4.
    epochs = max(3, int(value(command, "--epochs", 3)) - 9)
    if value(command, "--detector"):
        epochs = 2  # each step runs the detector three times
        small += ["--samples_per_epoch", "12"]
    small += ["--epochs", str(epochs)]
    if not value(command, "--val_root"):
        small += ["--val_root", "data/val"]
    assert train.main([*command, *small]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in (run / "validation.jsonl").open()]
    monitor = json.loads((run / "best_model.json").read_text())["monitor"]
    assert rows[0]["step"] == 0 and len(rows) >= 3
    assert rows[-1][monitor] > rows[0][monitor], monitor
    assert "no validation was better" not in capsys.readouterr().out


def teach(place, wanted):
    """Make the teacher's images as the page does, or remove them."""
    (command,) = commands("irvis_fusion fuse --model base ")
    for part in ("train", "val", "test"):
        shutil.rmtree(place / "data" / part / "TEACHER_FUSED", ignore_errors=True)
        if not wanted:
            continue
        words = [word.replace("$part", part) for word in command]
        assert fuse.main(["--model", "base", *words, "--quiet"]) == 0


def test_the_learning_rate_example_suggests_one(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    teach(place, False)
    (command,) = commands("-m training.find_lr ")
    small = ["--input_size", "64", "--num_steps", "30", "--threads", "1", "--num_workers", "0"]
    assert find_lr.main([*command, *small, "--accelerator", "cpu"]) == 0
    assert re.search(r"suggested: --lr \S+ \(the loss falls from", capsys.readouterr().out)
