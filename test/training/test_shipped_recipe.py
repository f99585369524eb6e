"""The recorded recipe is one that `training.train` takes, and its stages follow on each other."""

import shlex

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from irvis_fusion_core import model_zoo
from irvis_fusion_core.network.student import create_student_model
from training import shipped_recipe
from training.options import FROM_SOURCES, parse_options, term_weights

COMMON = ["--data", "D", "--detector", "yolox.onnx", "nanodet.onnx"]


def printed(capsys, tmp_path, *arguments):
    given = [*COMMON, "--runs", str(tmp_path), "--print", *arguments]
    assert shipped_recipe.main(given) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_every_shipped_variant_has_a_recipe():
    assert sorted(shipped_recipe.RECIPES) == sorted(model_zoo.VARIANTS)


@pytest.mark.parametrize("variant", sorted(shipped_recipe.RECIPES))
def test_stages_are_commands_that_training_takes_and_start_from_each_other(
    variant, capsys, tmp_path
):
    *stages, shipping = printed(capsys, tmp_path, "--variant", variant)
    assert shipping[2] == "training.ship_models" and variant in shipping and "--last" in shipping
    before = None
    for command in stages:
        options = parse_options(command[3:])
        assert options.variant == variant and options.exclude_validation
        shares = [float(root.partition("=")[2]) for root in options.train_root]
        assert sum(shares) == pytest.approx(1.0)
        assert not any("val" in root for root in options.train_root)
        assert options.init == before and options.freeze_norm is (before is not None)
        before = f"{options.checkpoint_dir}/{variant}.safetensors"
    detectors = [parse_options(c[3:]).detector for c in stages]
    assert detectors[:2] == [[], ["yolox.onnx"]]
    weights = term_weights(parse_options(stages[1][3:]), with_teacher=False)
    assert {k: v for k, v in weights.items() if k in FROM_SOURCES} == FROM_SOURCES
    assert [weights[name] for name in ("det", "det_box", "det_object")] == [1.0, 0.5, 2.0]
    # What `ship_models` reads.
    assert options.checkpoint_dir == str(tmp_path / variant)
    assert len(stages) == 3


STEPS = {"nano": 4200, "small": 2700, "base": 1950}


@pytest.mark.parametrize("variant", sorted(STEPS))
def test_the_second_round_has_two_detectors_and_its_own_weights(variant, capsys, tmp_path):
    command = printed(capsys, tmp_path, "--variant", variant)[2]
    options = parse_options(command[3:])
    assert options.detector == ["yolox.onnx", "nanodet.onnx"]
    assert options.resize_range == [0.5, 1.1] and "D/roadscene/train=0.4" in options.train_root
    weights = term_weights(options, with_teacher=False)
    assert [weights[k] for k in ("det_object", "det_visible", "src_qabf")] == [4.0, 1.5, 1.0]
    assert options.samples_per_epoch * options.epochs == 4 * STEPS[variant]  # crops of its steps
    assert bool(options.train_only) is (variant != "nano")
    short = ["--data", "D", "--detector", "yolox.onnx", "--print", "--variant"]
    assert shipped_recipe.main([*short, variant]) == 1
    assert f"stage 3 of {variant}" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["small", "base"])
def test_the_second_round_of_the_larger_ones_trains_layers_that_they_have(
    variant, capsys, tmp_path
):
    prefixes = parse_options(printed(capsys, tmp_path, "--variant", variant)[2][3:]).train_only
    names = [name for name, _ in create_student_model(variant).named_parameters()]
    assert all(any(name.startswith(prefix) for name in names) for prefix in prefixes)


def test_a_stage_that_is_done_is_not_run_again_and_a_failure_ends_it(monkeypatch, tmp_path):
    ran, shipped = [], []

    def train(arguments):
        ran.append(parse_options(arguments).checkpoint_dir)
        return 1 if len(ran) == 1 else 0

    monkeypatch.setattr(shipped_recipe.train, "main", train)
    monkeypatch.setattr(
        shipped_recipe.ship_models, "main", lambda given: shipped.append(given) or 0
    )
    first = shipped_recipe.weights_of(tmp_path, "nano", 0)
    first.parent.mkdir()
    first.touch()
    arguments = [*COMMON, "--runs", str(tmp_path), "--variant", "nano"]
    assert shipped_recipe.main(arguments) == 1
    assert ran == [str(tmp_path / "nano_stage2")] and not shipped
    assert shipped_recipe.main(arguments) == 0
    assert len(shipped) == 1
