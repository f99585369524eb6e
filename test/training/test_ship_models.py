"""Which weights of a run ship, and what quantisation is calibrated with."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from pair_folders import write_pair_folder

from irvis_fusion_core.errors import CheckpointError
from training.export import read_calibration
from training.ship_models import round_weights, trained_weights


def test_the_best_weights_ship_unless_asked_otherwise(tmp_path):
    with pytest.raises(CheckpointError, match="training.train --variant nano"):
        trained_weights(tmp_path, "nano")
    (tmp_path / "nano.safetensors").touch()
    assert trained_weights(tmp_path, "nano").name == "nano.safetensors"
    (tmp_path / "best_model.safetensors").touch()
    assert trained_weights(tmp_path, "nano").name == "best_model.safetensors"
    assert trained_weights(tmp_path, "nano", last=True).name == "nano.safetensors"


def test_calibration_takes_pairs_of_every_folder(tmp_path):
    folders = [write_pair_folder(tmp_path / name, 5) for name in ("a", "b")]
    pairs = read_calibration(folders, 4, "rgb")
    assert len(pairs) == 4
    assert pairs[0][0].shape == (64, 64, 1) and pairs[0][1].shape == (64, 64, 3)


@pytest.mark.parametrize("bits", [6, 10])
def test_weights_of_convolutions_survive_half_precision(bits):
    layer = torch.nn.Conv2d(3, 4, 3)
    bias, weight = layer.bias.clone(), layer.weight.clone()
    round_weights(layer, bits)
    assert ((layer.weight - weight).abs() <= weight.abs() * 2.0 ** -(bits + 1) + 2.0**-24).all()
    assert torch.equal(layer.weight, layer.weight.half().float())
    assert torch.equal(layer.bias, bias)
