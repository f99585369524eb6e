"""The recorded recipe is one that `training.train` takes, and its stages follow on each other."""

import json
import shlex

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from irvis_fusion_core import model_zoo
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from irvis_fusion_core.network.student import create_student_model
from training import shipped_recipe
from training.loop.averaging import blend
from training.options import parse_options
from training.ship_models import trained_weights


def printed(capsys, tmp_path, *arguments):
    common = ["--data", "D", "--runs", str(tmp_path), "--print"]
    assert shipped_recipe.main([*common, *arguments]) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_every_shipped_variant_has_a_recipe():
    assert sorted(shipped_recipe.RECIPES) == sorted(model_zoo.VARIANTS)


@pytest.mark.parametrize("variant", sorted(shipped_recipe.RECIPES))
def test_stages_are_commands_that_training_takes_and_start_from_each_other(
    variant, capsys, tmp_path
):
    *stages, shipping = printed(capsys, tmp_path, "--variant", variant)
    assert shipping[2] == "training.ship_models" and variant in shipping
    before = None
    for command in stages:
        options = parse_options(command[3:])
        assert options.variant == variant
        shares = [float(root.partition("=")[2]) for root in options.train_root]
        assert sum(shares) == pytest.approx(1.0)
        assert not any("val" in root for root in options.train_root)
        assert options.init == before
        before = f"{options.checkpoint_dir}/best_model.safetensors"


@pytest.mark.parametrize("variant", sorted(shipped_recipe.RECIPES))
def test_the_weights_that_ship_were_trained_by_the_recorded_recipe(variant, tmp_path):
    """Recorded truth: what the run itself wrote into the weights' header."""
    header = read_metadata(model_zoo.weights_path(variant))
    trained = json.loads(header["training"])
    last = len(shipped_recipe.RECIPES[variant]) - 1
    recorded = vars(
        parse_options(shipped_recipe.arguments_of(variant, last, tmp_path / "data", tmp_path))
    )
    # Whether images are decoded before the start, and where old runs are, changes no weight.
    different = {
        name: (trained[name], recorded[name])
        for name in trained.keys() & recorded.keys()
        if trained[name] != recorded[name] and name not in ("no_check", "overwrite")
    }
    assert not different
    folders = [f"train={root.partition('=')[2]}" for root in recorded["train_root"]]
    assert [name.partition("/")[2] for name in trained["train_folders"]] == folders
    assert float(header["blend"]) == shipped_recipe.BLENDS[variant]


def test_a_stage_that_is_done_is_not_run_again_and_a_failure_ends_it(monkeypatch, tmp_path):
    ran, shipped = [], []

    def train(arguments):
        ran.append(parse_options(arguments).checkpoint_dir)
        return 1 if len(ran) == 2 else 0

    blended = []
    monkeypatch.setattr(shipped_recipe, "blended", lambda *of: blended.append(of))
    monkeypatch.setattr(shipped_recipe.train, "main", train)
    monkeypatch.setattr(
        shipped_recipe.ship_models, "main", lambda given: shipped.append(given) or 0
    )
    first = shipped_recipe.stage_folder(tmp_path, "nano", 0)
    first.mkdir()
    (first / "nano.safetensors").touch()
    arguments = ["--data", "D", "--runs", str(tmp_path), "--variant", "nano"]
    assert shipped_recipe.main(arguments) == 1
    folders = [str(shipped_recipe.stage_folder(tmp_path, "nano", n)) for n in (1, 2)]
    assert ran == folders and not shipped and not blended
    assert shipped_recipe.main(arguments) == 0
    assert len(shipped) == 1 and blended == [("nano", tmp_path)]


def test_what_ships_lies_between_the_last_two_stages(tmp_path):
    share = shipped_recipe.BLENDS["nano"]
    count = len(shipped_recipe.RECIPES["nano"])
    students = []
    for number in (count - 2, count - 1):
        torch.manual_seed(number)
        students.append(create_student_model("nano"))
        folder = shipped_recipe.stage_folder(tmp_path, "nano", number)
        folder.mkdir()
        facts = {"training": str(number), "Qabf": "1"}
        save_checkpoint(students[-1], folder / shipped_recipe.WEIGHTS, facts)
    path = shipped_recipe.blended("nano", tmp_path)
    assert path == trained_weights(tmp_path / "nano", "nano")  # what `ship_models` takes
    found = load_checkpoint(path).state_dict()
    for name, tensor in found.items():
        if tensor.is_floating_point():
            before, last = (student.state_dict()[name] for student in students)
            torch.testing.assert_close(tensor, (1 - share) * before + share * last)
    facts = read_metadata(path)
    assert facts["training"] == str(count - 1) and float(facts["blend"]) == share
    assert "Qabf" not in facts  # that of the last stage alone


@pytest.mark.parametrize("variant, share", [("nano", 1.5), ("small", 0.5)])
def test_a_blend_of_other_sizes_or_beyond_both_is_refused(variant, share):
    with pytest.raises(ConfigurationError, match="expected"):
        blend(create_student_model("nano"), create_student_model(variant), share)
