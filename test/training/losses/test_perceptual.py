"""VGG-16 as torchvision stores it, against a plain forward pass; refused without weights."""

import hashlib
import sys
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from training.losses.backbones import WeightsMissingError
from training.losses.perceptual import open_vgg16, perceptual_distance
from training.losses.teacher_terms import FeatureAdapters

# Where torchvision's vgg16 has its convolutions, from its published listing of layers.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
LAST_OF_BLOCK = (2, 7, 14, 21, 28)
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with torchvision's names and shapes, of other numbers."""
    torch.manual_seed(0)
    tensors, before = {"classifier.0.bias": torch.zeros(3)}, 3
    for layer, width in zip(CONVOLUTIONS, WIDTHS):
        tensors[f"features.{layer}.weight"] = (
            torch.randn(width, before, 3, 3) * (before * 4) ** -0.5
        )
        tensors[f"features.{layer}.bias"] = 0.1 * torch.randn(width)
        before = width
    path = tmp_path_factory.mktemp("vgg") / "vgg16-397923af.pth"
    torch.save(tensors, path)
    return path


def test_features_are_those_of_a_plain_forward_pass(weights):
    tensors = torch.load(weights, weights_only=True)
    grey = torch.rand(1, 1, 32, 48) * 255.0
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((grey[0] / 255.0).expand(3, -1, -1) - mean[:, None, None]) / std[:, None, None]
    x, expected = x[None], []
    for layer in CONVOLUTIONS:
        name = f"features.{layer}"
        x = F.conv2d(x, tensors[name + ".weight"], tensors[name + ".bias"], padding=1).clamp_min(0)
        if layer in LAST_OF_BLOCK:
            expected.append(x)
            x = F.max_pool2d(x, 2)
    found = open_vgg16(weights)(grey)
    assert [f.shape[1] for f in found] == [64, 128, 256, 512, 512]
    assert [f.shape[3] for f in found] == [48, 24, 12, 6, 3]
    for f, e in zip(found, expected):
        assert torch.allclose(f, e, rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in open_vgg16(weights).parameters())


def test_distance_is_the_relative_squared_difference(weights):
    x, y = torch.rand(1, 1, 16, 16) * 255.0, torch.rand(1, 1, 16, 16) * 255.0
    vgg = open_vgg16(weights)
    f, t = vgg(x, blocks=4), vgg(y, blocks=4)
    expected = sum(float(((a - b) ** 2).sum() / (b**2).sum()) for a, b in zip(f, t)) / 4
    assert float(perceptual_distance(f, t)) == pytest.approx(expected, rel=1e-5)
    assert float(perceptual_distance(t, t)) == 0.0


def test_without_trained_weights_there_is_no_network(tmp_path, monkeypatch, weights):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(WeightsMissingError, match=r"vgg16-397923af\.pth.*--lambda_perc 0"):
        open_vgg16()
    with pytest.raises(WeightsMissingError, match="no such file"):
        open_vgg16(tmp_path / "other.pth")
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "vgg16-397923af.pth").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(WeightsMissingError, match="file of tensors"):
        open_vgg16()
    torch.save({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "other.pth")
    with pytest.raises(WeightsMissingError, match="features.0.weight of shape"):
        open_vgg16(tmp_path / "other.pth")


def test_an_installed_torchvision_provides_the_weights(tmp_path, monkeypatch, weights):
    """A stand-in for torchvision; its file is downloaded once, checked, and not unpickled."""
    plain = open_vgg16(weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    published = tmp_path / f"vgg16-{digest}.pth"
    published.write_bytes(weights.read_bytes())
    facts = SimpleNamespace(DEFAULT=SimpleNamespace(url=published.as_uri()))
    models = SimpleNamespace(get_model_weights={"vgg16": facts}.__getitem__)
    stand_in = SimpleNamespace(models=models, __spec__=object())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    grey = torch.rand(1, 1, 32, 32) * 255.0
    assert torch.equal(open_vgg16()(grey)[0], plain(grey)[0])
    published.unlink()
    assert torch.equal(open_vgg16()(grey)[0], plain(grey)[0])  # from the cache
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "other home"))
    with pytest.raises(WeightsMissingError, match="No such file.*--vgg_weights"):
        open_vgg16()
    published.write_bytes(b"of somebody else")
    with pytest.raises(WeightsMissingError, match="invalid hash value"):
        open_vgg16()


def test_features_foretell_when_the_adapter_is_right():
    """Where the teacher's features are a mix of the student's, that mix makes the term 0."""
    torch.manual_seed(0)
    student = [torch.randn(2, 4, s, s) for s in (8, 4, 2)]
    mixes = [torch.randn(6, 4, 1, 1) for _ in range(3)]
    teacher = [F.conv2d(f, m) for f, m in zip(student, mixes)]
    adapters = FeatureAdapters((4, 4, 4), (6, 6, 6))
    start = adapters(student, teacher).detach()
    cosine = [
        F.cosine_similarity(a(s), t, dim=1).mean()
        for a, s, t in zip(adapters.adapters, student, teacher)
    ]
    assert float(start) == pytest.approx(float(1.0 - sum(cosine).detach() / 3), abs=1e-5)
    for adapter, mix in zip(adapters.adapters, mixes):
        adapter.weight.data.copy_(3.0 * mix)
        adapter.bias.data.zero_()
    assert float(adapters(student, teacher)) == pytest.approx(0.0, abs=1e-5)
    weight = torch.zeros(2, 1, 8, 8)
    weight[0] = 1.0
    teacher[0][1] = -teacher[0][1]  # wrong where nothing is trusted
    assert float(adapters(student, teacher, weight)) == pytest.approx(0.0, abs=1e-5)
