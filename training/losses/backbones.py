"""The convolutions of AlexNet and VGG-16 with torchvision's trained weights.

The layers are few, so they are defined here: a file of weights is enough, torchvision is not
needed. Random weights are never used: distances in a random network mean nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from irvis_fusion_core.network.checkpoint import load_plain
from training.errors import TrainingError


class WeightsMissingError(TrainingError):
    """Trained weights of a backbone are missing, or the file holds other weights."""


# torchvision's name -> the widths of the convolutions and, where they are not 3x3, their kernel,
# stride and padding (0: a pooling); the side of the poolings; the file in torch.hub's cache.
# Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; Simonyan and
# Zisserman, arXiv 1409.1556, configuration D. Both without the last pooling.
_ALEXNET = ((64, 11, 4, 2), (0,), (192, 5, 1, 2), (0,), (384,), (256,), (256,))
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
_BACKBONES = {
    "alexnet": (_ALEXNET, 3, "alexnet-owt-7be5be79.pth"),
    "vgg16": (tuple((width,) for width in _VGG16), 2, "vgg16-397923af.pth"),
}


def _convolutions(plan: Sequence[tuple[int, ...]], pooling: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for width, *shape in plan:
        if width:
            layers += [nn.Conv2d(before, width, *(shape or (3, 1, 1))), nn.ReLU()]
            before = width
        else:
            layers.append(nn.MaxPool2d(pooling, 2))
    return nn.Sequential(*layers)


def cached_weights(net: str) -> Path:
    """Return where torch.hub's cache has the weights of a network, or would have them."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return min(cache.glob(f"{net}-*.pth"), default=cache / _BACKBONES[net][2])


def open_features(net: str, weights: str | Path | None, advice: str) -> nn.Sequential:
    """Return torchvision's ``features`` of a network, trained and frozen.

    Args:
        net: ``alexnet`` or ``vgg16``.
        weights: torchvision's state dict (``.pth`` or ``.safetensors``). None looks into
            torch.hub's cache, and then lets an installed torchvision download them.
        advice: What else the user can do; ends the message of an error.

    Raises:
        WeightsMissingError: there are no weights, or the file holds other weights.
    """
    plan, pooling, file = _BACKBONES[net]
    path = Path(weights) if weights else cached_weights(net)
    if not path.is_file():
        if weights or not importlib.util.find_spec("torchvision"):
            raise WeightsMissingError(
                f"expected torchvision's weights of {net} at {path}, found no such file; install "
                f"torchvision or download https://download.pytorch.org/models/{file} there; "
                f"{advice}"
            )
        path = _download(net, path.parent, advice)
    features = _convolutions(plan, pooling)
    wanted = {f"features.{name}": tensor for name, tensor in features.named_parameters()}
    fill(wanted, path, f"torchvision's {net}", f"is it of another network? {advice}")
    return features.requires_grad_(False).eval()


def fill(wanted: Mapping[str, torch.Tensor], path: Path, what: str, advice: str) -> None:
    """Set parameters to the tensors of these names in a ``.pth`` or ``.safetensors`` file.

    Raises:
        WeightsMissingError: it is no such file, or lacks a tensor of this name and shape.
    """
    tensors = _read_tensors(path)
    for name, parameter in wanted.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != parameter.shape:
            found = "none" if tensor is None else tuple(tensor.shape)
            raise WeightsMissingError(
                f"expected {what} {name} of shape {tuple(parameter.shape)} in {path}, found "
                f"{found}; {advice}"
            )
        parameter.data.copy_(tensor)


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        found = dict(load_plain(path))
    except Exception as error:  # many kinds: safetensors' own, those of a file without names
        raise WeightsMissingError(
            f"expected a file of tensors at {path}, found: {error}; download it again"
        ) from error
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def _download(net: str, cache: Path, advice: str) -> Path:
    """Download torchvision's weights of a network into torch's cache; they are not unpickled."""
    import torchvision

    url = torchvision.models.get_model_weights(net).DEFAULT.url
    path = cache / url.rpartition("/")[2]
    cache.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2])
    except (OSError, RuntimeError) as error:  # no network, or a broken download
        raise WeightsMissingError(
            f"expected torchvision to provide the weights of {net}, found: {error}; {advice}"
        ) from error
    return path
