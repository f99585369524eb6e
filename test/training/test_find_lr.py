"""The range test: the suggestion in closed form, and the whole command on a tiny folder."""

import re

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="needs Lightning: pip install '.[train]'")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install '.[train]'")

from pair_folders import write_pair_folder

from training import find_lr
from training.find_lr import Curve, suggest
from training.loop.distillation import DistillationTask


def valley(centre, noise=0.0, steps=200):
    """A loss that falls like a logistic around `centre` and climbs from 300 times that rate on."""
    rates = np.logspace(-6, 0, steps)
    fall = 1.0 / (1.0 + (rates / centre) ** 2)
    climb = np.maximum(0.0, np.log10(rates / (300.0 * centre)))
    random = np.random.default_rng(0)
    return Curve(rates, 1.0 + fall + climb + noise * random.standard_normal(steps))


@pytest.mark.parametrize("centre", [1e-4, 1e-3])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_suggestion_is_the_inflection_of_the_fall(centre, noise):
    """On the logarithmic axis a logistic falls fastest at its centre."""
    found = suggest(valley(centre, noise))
    assert abs(np.log10(found / centre)) < (0.1 if noise == 0.0 else 0.35)


def test_there_is_no_suggestion_where_the_loss_never_falls():
    rates = np.logspace(-6, 0, 100)
    assert suggest(Curve(rates, np.linspace(1.0, 2.0, 100))) is None
    assert suggest(Curve(rates[:9], np.linspace(2.0, 1.0, 9))) is None


@pytest.fixture
def arguments(tmp_path):
    folder = write_pair_folder(tmp_path / "train", 4)
    output = tmp_path / "figures" / "curve.png"
    text = (
        f"--train_root {folder} --output {output} --input_size 64 --batch_size 2 --num_workers 0 "
        "--num_steps 30 --accelerator cpu --threads 1 --lambda_src_vif 0 --lambda_src_qabf 0 "
        f"--min_lr 1e-5 --max_lr 1 --checkpoint_dir {tmp_path / 'run'} --log_dir {tmp_path / 'l'}"
    )
    return text.split(), output


@pytest.mark.slow
def test_command_writes_a_curve_and_leaves_no_run(arguments, tmp_path, capsys):
    given, output = arguments
    status = find_lr.main(given)
    printed = capsys.readouterr()
    image = cv2.imread(str(output))
    assert image is not None and image.std() > 5.0
    if status == 0:  # thirty steps of two crops may or may not see the loss fall
        rate = float(re.search(r"suggested: --lr (\S+)", printed.out).group(1))
        assert 1e-5 <= rate <= 1.0
    else:
        assert "does not; look at" in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures", "train"]


def test_rates_rise_and_the_student_is_as_before(arguments):
    options = find_lr._parse(arguments[0])
    options.val_root = []
    data = find_lr.make_data(options)
    module = find_lr.RangeTest(find_lr.make_task(options, False))
    before = {k: v.clone() for k, v in module.task.student.state_dict().items()}
    curve = find_lr.range_test(
        module, data.train_dataloader(), (1e-5, 1e-1), 30, accelerator="cpu", devices=1
    )
    assert curve.rates[0] == pytest.approx(1e-5) and curve.rates[-1] <= 1e-1
    ratios = curve.rates[2:] / curve.rates[1:-1]
    assert ratios == pytest.approx(np.full(len(ratios), 1e4 ** (1 / 30)), rel=0.02)
    assert len(curve.losses) == 30 and np.isfinite(curve.losses).all()
    for name, tensor in module.task.student.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_loss_that_breaks_ends_the_test_and_not_the_command(arguments, monkeypatch):
    whole = DistillationTask.forward
    calls = []

    def breaks(self, *arguments):
        found = whole(self, *arguments)
        calls.append(1)
        if len(calls) > 12:
            found["loss"] = found["loss"] * float("nan")
        return found

    monkeypatch.setattr(DistillationTask, "forward", breaks)
    options = find_lr._parse(arguments[0])
    options.val_root = []
    data = find_lr.make_data(options)
    module = find_lr.RangeTest(find_lr.make_task(options, False))
    curve = find_lr.range_test(
        module, data.train_dataloader(), (1e-5, 1e-1), 30, accelerator="cpu", devices=1
    )
    assert len(curve.losses) == len(curve.rates) == 12
    assert len(calls) == 13


@pytest.mark.parametrize(
    "more, expected",
    [
        (["--min_lr", "1", "--max_lr", "0.1"], "--min_lr < --max_lr"),
        (["--num_steps", "5"], "--num_steps of at least 30"),
        (["--train_root", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, more, expected, capsys):
    assert find_lr.main(arguments[0] + more) == 1
    assert expected in capsys.readouterr().err
