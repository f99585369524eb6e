"""The registration's network is trained by the command: it runs, resumes exactly, exports."""

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="training needs Lightning: pip install '.[train]'")

from irvis_fusion_core.network.displacement_files import load_network
from training import train_registration
from training.data.dataset import Root
from training.data.sampling import Draw
from training.errors import DataError
from training.loop import averaged_run
from training.registration import export_registration, loss
from training.registration.displaced_pairs import DisplacedPairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs of one scene of blobs each; FLIR_012xx is held out, the others are not."""
    folder = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    for name in ("FLIR_00001", "FLIR_00002", "FLIR_00003", "FLIR_01250"):
        scene = cv2.resize(random.integers(0, 256, (30, 40), dtype=np.uint8), (160, 120))
        for side, image in (("IR", 255 - scene), ("VIS", cv2.merge([scene] * 3))):
            (folder / side).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / side / f"{name}.png"), image)
    return folder


def train(folder, output, *more):
    return train_registration.main(
        [
            *("--train_root", str(folder), "--input_size", "64", "--batch_size", "2"),
            *("--samples_per_epoch", "4", "--epochs", "2", "--num_workers", "0"),
            *("--accelerator", "cpu", "--threads", "1"),
            *("--checkpoint_dir", str(output), "--log_dir", str(output / "log"), *more),
        ]
    )


@pytest.fixture(scope="module", autouse=True)
def few_validation_crops():
    before = train_registration.VALIDATION_CROPS
    train_registration.VALIDATION_CROPS = 2
    yield
    train_registration.VALIDATION_CROPS = before


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    assert train(folder, output, "--unregistered_root", f"{folder}=0.5") == 0
    return output


def test_the_command_leaves_weights_logs_and_a_checkpoint(run):
    rows = [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(np.isfinite(row["train/field"]) and row["val/none"] > 0.0 for row in rows)
    assert json.loads((run / "config.json").read_text())["epochs"] == 2
    load_network(run / "registration.safetensors")


def test_a_resumed_run_ends_like_an_uninterrupted_one(folder, run, tmp_path):
    more = ("--unregistered_root", f"{folder}=0.5")
    # The schedule is that of two epochs: stopped by a step limit it would be another.
    stop = averaged_run.SaveAverage.on_train_epoch_end

    def interrupt(self, trainer, task):
        stop(self, trainer, task)
        trainer.should_stop = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaged_run.SaveAverage, "on_train_epoch_end", interrupt)
        assert train(folder, tmp_path, *more) == 0
    last = str(tmp_path / "last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 2
    export = ("--export", str(tmp_path / "models"))
    assert train(folder, tmp_path, *more, "--resume", last, *export) == 0
    assert (tmp_path / "models" / "registration_fp32.onnx").is_file()
    assert torch.load(last, weights_only=True)["global_step"] == 4
    whole, parts = (
        load_network(folder / "registration.safetensors").state_dict()
        for folder in (run, tmp_path)
    )
    assert not [name for name in whole if not torch.equal(whole[name], parts[name])]


def test_the_weights_export_to_the_file_that_the_node_opens(run, tmp_path):
    pytest.importorskip("onnx")
    weights = str(run / "registration.safetensors")
    assert export_registration.main(["--weights", weights, "--output", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"registration_fp32.onnx", "registration.safetensors", "checksums.json"}


def test_held_out_and_excluded_scenes_are_not_trained_on(folder):
    root = [Root(folder)]
    excluded = frozenset(["FLIR_00002"])
    train_set = DisplacedPairs(root, size=64, excluded=excluded)
    assert [p.stem for p in train_set.pairs] == ["FLIR_00001", "FLIR_00003"]
    validation = DisplacedPairs(root, size=64, part="validation")
    assert [p.stem for p in validation.pairs] == ["FLIR_01250"]
    with pytest.raises(DataError, match="none left"):
        DisplacedPairs(
            root, size=64, excluded=frozenset(p.stem for p in train_set.pairs) | excluded
        )


def test_a_crop_depends_on_the_seed_and_the_draw_alone(folder):
    first, second = (DisplacedPairs([Root(folder)], size=64, seed=3) for _ in "ab")
    first[Draw(1, 5)]
    for draw in (Draw(0, 7), Draw(2, 9)):
        for name, value in first[draw].items():
            assert torch.equal(value, second[draw][name])


def test_the_terms_vanish_for_the_truth_and_grow_with_the_error():
    truth = torch.randn(2, 2, 8, 8)
    weight = torch.ones(2, 1, 8, 8)
    near = loss.field_term([truth], truth, weight)
    assert float(near) < 0.25 < float(loss.field_term([truth + 1.0], truth, weight))
    assert float(loss.edge_term(truth + 1.0, truth, weight)) == pytest.approx(0.0, abs=1e-6)
    # A shift by (4, 0) pixels is one cell: the logit of that displacement explains it.
    shifted = torch.zeros(1, 2, 8, 8)
    shifted[:, 0] = 4.0
    logits = torch.zeros(1, 81, 4, 4)
    logits[:, 4 * 9 + 5] = 20.0
    ones = torch.ones(1, 1, 8, 8)
    assert float(loss.match_term(logits, shifted, ones)) < 1e-3
    assert float(loss.match_term(logits, 0 * shifted, ones)) > 10.0
