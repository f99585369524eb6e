"""Weights come back as they went, and what does not fit is named."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from irvis_fusion_core.errors import CheckpointError, ConfigurationError
from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from irvis_fusion_core.network.student import create_student_model


def same_weights(a, b):
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def test_safetensors_round_trip_knows_its_variant(tmp_path):
    model = create_student_model("small", in_channels=1, out_channels=1)
    path = tmp_path / "w.safetensors"
    save_checkpoint(model, path, {"recipe": "none"})
    loaded = load_checkpoint(path)
    assert loaded.variant == "small" and loaded.in_channels == 1 and not loaded.training
    assert same_weights(model, loaded)
    assert read_metadata(path)["recipe"] == "none"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}]
)
def test_pth_of_tensors(tmp_path, wrap):
    model = create_student_model("nano")
    torch.save(wrap(model.state_dict()), tmp_path / "w.pth")
    assert same_weights(model, load_checkpoint(tmp_path / "w.pth", create_student_model("nano")))
    found = load_checkpoint(tmp_path / "w.pth")
    assert found.variant == "nano" and same_weights(model, found)


def test_pth_of_no_student_names_what_does_not_fit(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="nano, small, base student.*fit none.*unexpected"):
        load_checkpoint(tmp_path / "w.pth")


class Payload:
    """What an attacker would pickle: it would leave a file behind when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pth_never_runs_code(tmp_path):
    torch.save({"w": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="tensors"):
        load_checkpoint(tmp_path / "evil.pth", create_student_model("nano"))
    assert not (tmp_path / "ran").exists()


def test_another_variant_is_named(tmp_path):
    save_checkpoint(create_student_model("small"), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="does not fit a nano.*another variant"):
        load_checkpoint(tmp_path / "w.safetensors", create_student_model("nano"))


@pytest.mark.parametrize("keep", [0, 5, 100, -1000])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "w.safetensors"
    save_checkpoint(create_student_model("nano"), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_missing_file_and_wrong_suffix(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(ConfigurationError, match="safetensors"):
        save_checkpoint(create_student_model("nano"), tmp_path / "w.pth")


def test_foreign_safetensors(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, str(tmp_path / "x.safetensors"))
    with pytest.raises(CheckpointError, match="format"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_half_storage_halves_the_file_and_rounds_once(tmp_path):
    model = create_student_model("small")
    save_checkpoint(model, tmp_path / "full.safetensors")
    save_checkpoint(model, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_checkpoint(tmp_path / "half.safetensors")
    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if tensor.dim() == 4 else tensor
        assert torch.equal(loaded.state_dict()[name], expected), name
