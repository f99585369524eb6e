"""LPIPS against a literal computation, and its refusal to invent weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
functional = torch.nn.functional

from irvis_fusion_core.errors import FrameError
from training.evaluation.lpips import BACKBONES, LpipsUnavailableError, open_lpips

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
        for n, c in enumerate(BACKBONES["alex"].channels)
    }
    torch.save(backbone, tmp_path / "alexnet-owt-0.pth")
    torch.save(heads, tmp_path / "alex.pth")
    return tmp_path, backbone, heads


def images(count=2, size=64):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, count, 3, size, size, generator=generator)


def literal(x, y, backbone, heads):
    """The paper's formula, a layer after the other, by numpy after the convolutions."""
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in ((-0.03, -0.088, -0.188),
                                                         (0.458, 0.448, 0.45)))  # fmt: skip
    x, y = (
        torch.from_numpy(((p.numpy() * 2 - 1 - mean) / std).astype(np.float32)) for p in (x, y)
    )
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
    with torch.no_grad():
        distance = metric(x, y).numpy()
    assert distance == pytest.approx(literal(x, y, backbone, heads), rel=1e-4)
    assert (distance > 0).all()
    assert metric(x, x).tolist() == [0.0, 0.0]


def test_each_image_of_a_batch_counts_for_itself(files):
    folder, *_ = files
    metric = open_lpips("alex", folder / "alexnet-owt-0.pth", folder / "alex.pth")
    x, y = images()
    alone = torch.cat([metric(a[None], b[None]) for a, b in zip(x, y)])
    assert torch.allclose(metric(x, y), alone, rtol=1e-4)


def test_weights_come_from_the_cache_of_torch_hub(files, monkeypatch, tmp_path):
    folder, *_ = files
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (folder / "alexnet-owt-0.pth").rename(cache / "alexnet-owt-0.pth")
    (folder / "alex.pth").rename(cache / "lpips_alex.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    open_lpips("alex")


def test_without_weights_there_is_no_lpips(files, monkeypatch, tmp_path):
    folder, *_ = files
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "nothing"))
    with pytest.raises(LpipsUnavailableError, match="alexnet.*download them once"):
        open_lpips("alex")
    with pytest.raises(LpipsUnavailableError, match="heads"):
        open_lpips("alex", folder / "alexnet-owt-0.pth", tmp_path / "none.pth")
    with pytest.raises(LpipsUnavailableError, match="out of alex, vgg"):
        open_lpips("resnet")


def test_weights_of_something_else_are_refused(files, tmp_path):
    folder, *_ = files
    backbone, heads = folder / "alexnet-owt-0.pth", folder / "alex.pth"
    with pytest.raises(LpipsUnavailableError, match="another network"):
        open_lpips("vgg", backbone, heads)
    with pytest.raises(LpipsUnavailableError, match="another network"):
        open_lpips("alex", heads, heads)
    with pytest.raises(LpipsUnavailableError, match="five LPIPS heads"):
        open_lpips("alex", backbone, backbone)
    heads.write_bytes(heads.read_bytes()[:100])
    with pytest.raises(LpipsUnavailableError, match="no file of tensors"):
        open_lpips("alex", backbone, heads)


def test_vgg_is_laid_out_as_torchvision_has_it():
    """The index of every convolution in torchvision's vgg16().features, and its width."""
    expected = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512}
    expected.update({21: 512, 24: 512, 26: 512, 28: 512})
    layers = BACKBONES["vgg"].layers
    assert {n: sizes[1] for n, (kind, sizes) in enumerate(layers) if kind == "conv"} == expected
    assert all(layers[tap][0] == "relu" for tap in BACKBONES["vgg"].taps)


def test_images_that_cannot_be_compared_are_named(files):
    folder, *_ = files
    metric = open_lpips("alex", folder / "alexnet-owt-0.pth", folder / "alex.pth")
    x, _ = images()
    for other in (x[:, :1], x[..., :40], x[0]):
        with pytest.raises(FrameError, match="one size"):
            metric(x, other)
    with pytest.raises(FrameError, match="32"):
        metric(x[..., :16], x[..., :16])
