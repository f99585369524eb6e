"""The flags that users were promised, and what is chosen where they say nothing."""

import pytest

pytest.importorskip("lightning")

from irvis_fusion_core.errors import ConfigurationError
from training.loop.set_up import precision
from training.options import FROM_SOURCES, parse_options, term_weights, warmup_epochs

REQUIRED = ["--train_root", "data/train"]


def test_the_described_command_lines_are_understood():
    command = (
        "--train_root data/train --val_root data/val --batch_size 8 --epochs 120 --lr 1e-4 "
        "--input_size 512 --use_amp --checkpoint_dir checkpoints --log_dir logs --in_channels 3 "
        "--out_channels 3 --weight_decay 1e-4 --lambda_pix 1.0 --lambda_perc 0.1 "
        "--lambda_ssim 1.0 --lambda_grad 0.5 --lambda_feat 0.5 --misalign_prob 0.5 "
        "--log_freq 100 --vis_freq 500 "
        "--save_freq 10 --resume checkpoints/checkpoint_epoch_50.pth --grad_clip 1.0 "
        "--num_workers 2 --variant small --seed 3 --devices 2 --strategy ddp --ema 0.99 "
        "--max_steps 5"
    )
    options = parse_options(command.split())
    assert options.train_root == ["data/train"] and options.use_amp and options.lr == 1e-4
    assert options.resume.endswith("epoch_50.pth") and options.variant == "small"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="expected a GPU.*train on the CPU"):
        parse_options([*REQUIRED, "--accelerator", "gpu"])


@pytest.mark.parametrize("has_bf16, wanted", [(True, "bf16-mixed"), (False, "32-true")])
def test_half_precision_is_for_what_calculates_in_it(monkeypatch, has_bf16, wanted):
    monkeypatch.setattr("training.loop.set_up.cpu_has_bf16", lambda: has_bf16)
    assert precision(True, "cpu") == wanted and precision(False, "cpu") == "32-true"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert precision(True, "auto") == "16-mixed" and precision(True, "cpu") == wanted


def test_weights_follow_from_whether_there_is_a_teacher():
    options = parse_options(REQUIRED)
    weights = term_weights(options, with_teacher=True)
    assert {k: w for k, w in weights.items() if w} == {
        "pix": 1.0,
        "perc": 0.1,
        "ssim": 1.0,
        "grad": 0.5,
        "feat": 0.5,
    }
    alone = term_weights(options, with_teacher=False)
    assert {name for name, w in alone.items() if w} == {
        "src_ssim",
        "src_qabf",
        "src_vif",
        "src_scd",
        "src_base",
        "src_noise",
        "src_colour",
        "src_hot_colour",
        "src_sky",
        "src_flicker",
    }
    watched = parse_options([*REQUIRED, "--detector", "a.onnx", "--detector", "b.onnx"])
    assert {name for name, w in term_weights(watched, False).items() if w} == {
        *(name for name, w in alone.items() if w),
        "det",
        "det_box",
        "det_object",
        "det_visible",
    }
    both = parse_options([*REQUIRED, "--lambda_pix", "2", "--lambda_src_qabf", "0"])
    assert term_weights(both, True)["pix"] == 2.0
    assert term_weights(both, False)["pix"] == 0.0 == term_weights(both, False)["src_qabf"]
    assert warmup_epochs(options, True) == 10 and warmup_epochs(options, False) == 0
    assert warmup_epochs(parse_options([*REQUIRED, "--warmup_epochs", "3"]), False) == 3


def test_a_training_for_nothing_is_refused():
    nothing = [f"--lambda_{name}=0" for name in FROM_SOURCES]
    with pytest.raises(ConfigurationError, match="TEACHER_FUSED"):
        term_weights(parse_options([*REQUIRED, *nothing]), with_teacher=False)


def test_norms_are_frozen_where_training_goes_on_from_weights():
    for more, frozen in (
        ([], False),
        (["--init", "a.pth"], True),
        (["--init", "a.pth", "--no-freeze_norm"], False),
        (["--freeze_norm"], True),
    ):
        assert parse_options([*REQUIRED, *more]).freeze_norm is frozen


@pytest.mark.parametrize("name", ["src_intensity", "src_warm", "src_max", "src_grad"])
def test_terms_of_earlier_releases_are_refused(name, capsys):
    with pytest.raises(SystemExit):
        parse_options([*REQUIRED, f"--lambda_{name}", "1"])
    assert f"--lambda_{name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    ["--batch_size 0", "--epochs 0", "--lr -1", "--lr nan", "--ema 1", "--max_steps 0"]
    + ["--num_workers -1", "--weight_decay -1", "--grad_clip -1", "--grad_clip nan"],
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=wrong.split()[0]):
        parse_options([*REQUIRED, *wrong.split()])
