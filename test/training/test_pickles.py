"""A pickled file that would run code is refused at every place that takes one."""

import re
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from pair_folders import write_pair_folder

from irvis_fusion_core.commands import analyze
from irvis_fusion_core.commands import export as export_onnx
from irvis_fusion_core.errors import CheckpointError, FusionError
from irvis_fusion_core.network import checkpoint
from training import eval as evaluation
from training import export, find_lr, make_teacher_images, train, train_teacher
from training.evaluation.lpips import open_lpips
from training.losses.perceptual import open_vgg16
from training.teachers.prior_files import load_network

ROOT = Path(__file__).parents[2]
PYTHON = [
    path
    for folder in ("irvis_fusion_core", "irvis_fusion_ros", "training", "benchmarks", "launch")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(params=["zip", "legacy"])
def bomb(request, tmp_path):
    """Returns the path of a file that is a state dict, a run and a bomb; both forms of torch."""
    path = tmp_path / "bomb.pth"
    content = {"state_dict": {"x": torch.zeros(1)}, "bomb": Bomb(str(tmp_path / "exploded"))}
    torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
    assert zipfile.is_zipfile(path) == (request.param == "zip")
    yield path
    assert not (tmp_path / "exploded").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("train", "val", "test"):
        write_pair_folder(folder / name, 2, height=32, width=32)
    return folder


COMMANDS = {
    "train --resume": (train, "--train_root train --checkpoint_dir run --resume BOMB"),
    "train --init": (train, "--train_root train --checkpoint_dir run --init BOMB"),
    "train --teacher_checkpoint": (
        train,
        "--train_root train --checkpoint_dir run --teacher_checkpoint BOMB",
    ),
    "find_lr --init": (find_lr, "--train_root train --init BOMB --output lr.png"),
    "train_teacher --resume": (
        train_teacher,
        "--teacher ddfm --train_root train --checkpoint_dir run --log_dir logs --resume BOMB",
    ),
    "make_teacher_images": (
        make_teacher_images,
        "--teacher ddfm --checkpoint BOMB --data_root test --devices cpu",
    ),
    "eval": (evaluation, "--checkpoint BOMB --data_root test --save_dir out --device cpu"),
    "export": (export, "--checkpoint BOMB --name yard --output out"),
    "irvis_fusion export": (export_onnx, "--checkpoint BOMB --variant nano --output a.onnx"),
    "irvis_fusion analyze": (analyze, "--checkpoint BOMB"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_refuse_it(name, bomb, folder, monkeypatch, capsys):
    module, arguments = COMMANDS[name]
    monkeypatch.chdir(folder)
    assert module.main(arguments.replace("BOMB", str(bomb)).split()) != 0
    assert str(bomb) in capsys.readouterr().err


@pytest.mark.parametrize(
    "read",
    [
        checkpoint.load_plain,
        checkpoint.read_pth,
        checkpoint.load_checkpoint,
        lambda path: load_network("ddfm", path),
        open_vgg16,
        lambda path: open_lpips("vgg", backbone_file=path),
    ],
)
def test_readers_refuse_it(read, bomb):
    with pytest.raises((FusionError, RuntimeError), match=re.escape(str(bomb))):
        read(bomb)


@pytest.mark.parametrize("version", ["2.5.1", "1.13.1+cu117"])
def test_an_old_torch_reads_no_pickles_and_says_what_to_do(version, tmp_path, monkeypatch):
    torch.save({"x": torch.ones(2)}, tmp_path / "a.pth")
    assert checkpoint.read_pth(tmp_path / "a.pth")["x"].tolist() == [1.0, 1.0]
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(CheckpointError, match=r"2\.6 or newer.*safetensors") as caught:
        checkpoint.read_pth(tmp_path / "a.pth")
    assert version in str(caught.value)
    monkeypatch.setattr(torch, "__version__", "2.10.0a0+git1")
    assert checkpoint.read_pth(tmp_path / "a.pth")


def test_nothing_else_unpickles():
    """One place calls torch.load; whatever else unpickles is not used."""
    unsafe = r"\b(?:torch\.load|pickle|joblib|shelve|marshal|dill)\b|allow_pickle=True"
    unsafe += r"|yaml\.(?:load|unsafe_load|full_load)\(|load_from_checkpoint|weights_only=False"
    found = {
        (path.relative_to(ROOT).as_posix(), line.partition("#")[0].strip())
        for path in PYTHON
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(unsafe, line.partition("#")[0])
    }
    assert found == {
        (
            "irvis_fusion_core/network/checkpoint.py",
            'return torch.load(str(path), map_location="cpu", weights_only=True)',
        ),
        # A SafeLoader without aliases.
        (
            "irvis_fusion_core/bounded_file.py",
            "tree = yaml.load(text, Loader)",
        ),
    }
