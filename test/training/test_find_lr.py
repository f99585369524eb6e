"""The range test: the suggestion in closed form, and the whole command on a tiny folder."""

import re

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="needs Lightning: pip install '.[train]'")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install '.[train]'")

from pair_folders import write_pair_folder

from irvis_fusion_core.errors import ConfigurationError
from training import find_lr
from training.data.dataset import FusionDataset
from training.find_lr import Curve, LRFinder, suggest, useful_rates
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


def test_useful_rates_lie_around_the_fall():
    """Of a logistic a tenth is lost where (rate / centre)^2 is a ninth; then it climbs.

    Smoothing moves the beginning of a steep fall ahead.
    """
    low, high = useful_rates(valley(1e-4))
    assert -0.2 < np.log10(low / (1e-4 / 3)) < 0.05
    assert 1e-3 < high <= 300.0 * 1e-4 * 1.5


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


def test_batches_of_unlike_losses_give_one_steady_curve(arguments):
    """Where the rate is too small to change anything, the curve is flat."""
    options = find_lr._parse([*arguments[0], "--batch_size", "1"])
    options.val_root = []
    data = find_lr.make_data(options)
    module = find_lr.RangeTest(find_lr.make_task(options, False))
    rates = (1e-12, 1e-10)
    curve = find_lr.range_test(
        module, data.train_dataloader(), rates, 30, accelerator="cpu", devices=1
    )
    assert np.ptp(module.losses) > 0.02 * np.mean(module.losses)
    assert curve.losses == pytest.approx(np.full(30, np.mean(module.losses[:4])), rel=1e-3)


@pytest.mark.parametrize("by_task", [False, True])
def test_a_notebook_finds_a_rate(tmp_path, by_task):
    """As the described system does, from the one place of all names."""
    from training import LRFinder as documented
    from training import create_student_model

    assert documented is LRFinder
    folder = write_pair_folder(tmp_path / "train", 4, teacher=lambda ir, vis: ir)
    loader = torch.utils.data.DataLoader(FusionDataset([folder]), batch_size=2)
    torch.manual_seed(0)
    model = create_student_model("nano")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    criterion = DistillationTask(model, {"pix": 1.0}) if by_task else torch.nn.L1Loss()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finder = LRFinder(model, optimizer, criterion, device="cpu")
    with pytest.raises(ConfigurationError, match="range_test before"):
        finder.plot(str(tmp_path / "curve.png"))
    finder.range_test(loader, start_lr=1e-5, num_iter=40)
    assert 1e-5 < finder.suggestion < 1.0
    finder.plot(save_path=str(tmp_path / "curve.png"))
    assert cv2.imread(str(tmp_path / "curve.png")) is not None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert optimizer.param_groups[0]["lr"] == 1e-3 and not optimizer.state_dict()["state"]


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
