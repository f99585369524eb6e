"""LPIPS against a literal computation, with stand-in weights; refused without weights."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")
functional = torch.nn.functional

from irvis_fusion_core.errors import ConfigurationError, FrameError
from training.evaluation.lpips import open_lpips
from training.losses.backbones import WeightsMissingError

# Of torchvision's AlexNet: index in `features`, (out, in, kernel).
ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


@pytest.fixture
def files(tmp_path):
    """Files laid out as torchvision's AlexNet and the heads of version 0.1 are."""
    generator = torch.Generator().manual_seed(0)
    backbone = {"classifier.1.weight": torch.zeros(4, 4)}
    for index, (out, into, kernel) in ALEX.items():
        spread = (2.0 / (into * kernel**2)) ** 0.5
        weight = torch.randn(out, into, kernel, kernel, generator=generator) * spread
        backbone[f"features.{index}.weight"] = weight
        backbone[f"features.{index}.bias"] = torch.randn(out, generator=generator) * 0.1
    heads = {
        f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator)
        for n, c in enumerate((64, 192, 384, 256, 256))
    }
    torch.save(backbone, tmp_path / "alexnet-owt-0.pth")
    torch.save(heads, tmp_path / "alex.pth")
    return tmp_path, backbone, heads


def images(size=64):
    return np.random.default_rng(1).integers(0, 256, (2, size, size), dtype=np.uint8)


def literal(x, y, backbone, heads):
    """The paper's formula, layer by layer, by numpy after the convolutions."""
    x, y = (np.broadcast_to(p / 255.0, (1, 3, *p.shape)) for p in (x, y))
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in ((-0.03, -0.088, -0.188),
                                                         (0.458, 0.448, 0.45)))  # fmt: skip
    x, y = (torch.from_numpy(((p * 2 - 1 - mean) / std).astype(np.float32)) for p in (x, y))
    total = np.zeros(len(x))
    settings = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
    for number, (index, (stride, padding)) in enumerate(settings.items()):
        weight, bias = (backbone[f"features.{index}.{kind}"] for kind in ("weight", "bias"))
        if number in (1, 2):
            x, y = (functional.max_pool2d(p, 3, 2) for p in (x, y))
        x, y = (functional.conv2d(p, weight, bias, stride, padding).clamp_min(0) for p in (x, y))
        a, b = (p.numpy() / np.linalg.norm(p.numpy(), axis=1, keepdims=True) for p in (x, y))
        head = heads[f"lin{number}.model.1.weight"].numpy()
        total += (head * (np.nan_to_num(a) - np.nan_to_num(b)) ** 2).sum(1).mean((1, 2))
    return total


def test_distance_is_the_papers_formula(files):
    folder, backbone, heads = files
    metric = open_lpips("alex", folder / "alexnet-owt-0.pth", folder / "alex.pth")
    x, y = images()
    assert metric(x, y) == pytest.approx(float(literal(x, y, backbone, heads)[0]), rel=1e-4)
    assert metric(x, y) > 0.0 and metric(x, x) == 0.0


def test_the_backbone_is_enough_as_torchmetrics_ships_the_heads(files, monkeypatch, tmp_path):
    folder, backbone, _ = files
    shipped = Path(torchmetrics.functional.image.lpips.__file__).parent / "lpips_models/alex.pth"
    heads = torch.load(shipped, map_location="cpu", weights_only=True)
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (folder / "alexnet-owt-0.pth").rename(cache / "alexnet-owt-0.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    x, y = images()
    expected = float(literal(x, y, backbone, heads)[0])
    assert open_lpips("alex")(x, y) == pytest.approx(expected, rel=1e-4)


def test_without_weights_there_is_no_lpips(files, monkeypatch, tmp_path):
    folder, *_ = files
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(WeightsMissingError, match="alexnet.*torchvision.*--lpips_backbone"):
        open_lpips("alex")
    with pytest.raises(WeightsMissingError, match="file of tensors"):
        open_lpips("alex", folder / "alexnet-owt-0.pth", tmp_path / "none.pth")
    with pytest.raises(ConfigurationError, match="one of alex, vgg"):
        open_lpips("resnet")


def test_weights_of_something_else_are_refused(files):
    folder, *_ = files
    backbone, heads = folder / "alexnet-owt-0.pth", folder / "alex.pth"
    with pytest.raises(WeightsMissingError, match="another network"):
        open_lpips("vgg", backbone, heads)
    with pytest.raises(WeightsMissingError, match="another network"):
        open_lpips("alex", heads, heads)
    with pytest.raises(WeightsMissingError, match="LPIPS head lin0"):
        open_lpips("alex", backbone, backbone)
    heads.write_bytes(heads.read_bytes()[:100])
    with pytest.raises(WeightsMissingError, match="file of tensors"):
        open_lpips("alex", backbone, heads)


def test_images_that_cannot_be_compared_are_named(files):
    folder, *_ = files
    metric = open_lpips("alex", folder / "alexnet-owt-0.pth", folder / "alex.pth")
    x, _ = images()
    for other in (x[:, :40], x[0], x[None]):
        with pytest.raises(FrameError, match="one size"):
            metric(x, other)
    with pytest.raises(FrameError, match="32"):
        metric(x[:, :16], x[:, :16])
