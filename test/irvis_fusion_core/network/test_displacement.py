"""The displacement network: its cost volumes against plain loops, and its files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import CheckpointError
from irvis_fusion_core.network import displacement
from irvis_fusion_core.network.displacement import DisplacementNetwork
from irvis_fusion_core.network.displacement_files import (
    export_network,
    load_network,
    save_network,
)
from irvis_fusion_core.network.student import create_student_model


def similarity(query, key, row, column, key_row, key_column):
    height, width = key.shape[2:]
    if not (0 <= key_row < height and 0 <= key_column < width):
        return 0.0
    return float(query[0, :, row, column] @ key[0, :, key_row, key_column])


@pytest.mark.parametrize("stride, reach", [(2, displacement.REACH), (1, 1)])
def test_costs_are_the_products_with_the_keys_around(stride, reach):
    random = torch.Generator().manual_seed(0)
    query = torch.randn(1, 5, 4, 6, generator=random)
    key = torch.randn(1, 5, 4 * stride, 6 * stride, generator=random)
    correlate = displacement.correlate_far if stride == 2 else displacement.correlate_near
    costs = correlate(query, key)
    offsets = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    for row, column in ((0, 0), (1, 3), (3, 5)):
        wanted = [
            similarity(query, key, row, column, stride * row + y, stride * column + x)
            for y, x in offsets
        ]
        np.testing.assert_allclose(costs[0, :, row, column].numpy(), wanted, atol=1e-5)


def test_the_sign_of_contrast_does_not_change_edges():
    image = torch.rand(1, 1, 32, 48) * 255.0
    np.testing.assert_allclose(
        displacement.edges(image).numpy(), displacement.edges(255.0 - image).numpy(), atol=1e-3
    )


def small_network(seed=0):
    torch.manual_seed(seed)
    network = DisplacementNetwork(width=12, match=6, steps=1)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


def test_weights_are_saved_and_loaded_with_their_sizes(tmp_path):
    network = small_network()
    save_network(network, tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors")
    pair = [torch.rand(1, 1, 32, 48) * 255.0 for _ in "ab"]
    with torch.no_grad():
        for found, wanted in zip(loaded(*pair), network(*pair)):
            assert torch.equal(found, wanted)


def test_weights_of_a_student_are_refused(tmp_path):
    from irvis_fusion_core.network.checkpoint import save_checkpoint

    save_checkpoint(create_student_model("nano"), tmp_path / "nano.safetensors")
    with pytest.raises(CheckpointError, match="train_registration"):
        load_network(tmp_path / "nano.safetensors")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_exported_file_gives_the_networks_field_at_any_size(tmp_path, engine, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip(engine)
    from irvis_fusion_core.registration.learned.field_network import FieldNetwork

    network = small_network()
    path = export_network(network, tmp_path / "a.onnx")
    runner = FieldNetwork(str(path), threads=1)
    runner._compile = {"onnxruntime": runner._onnxruntime, "openvino": runner._openvino}[engine]
    random = np.random.default_rng(0)
    for height, width in ((96, 128), (64, 112)):
        seen = [random.integers(0, 256, (height, width), dtype=np.uint8) for _ in "ab"]
        # Twice as large, so that the engine sees these pixels.
        field = runner.field(*(np.kron(image, np.ones((2, 2), np.uint8)) for image in seen))
        with torch.no_grad():
            planes = (torch.from_numpy(image)[None, None].float() for image in seen)
            wanted = torch.cat(network(*planes), 1)[0].numpy()
        np.testing.assert_allclose(field[:2], 2.0 * wanted[:2], atol=2e-3)
        np.testing.assert_allclose(field[2], wanted[2], atol=1e-3)
