"""LPIPS: how different two images look to a network trained on photographs.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018,
version 0.1: features of AlexNet or VGG-16 after five ReLUs, each pixel's features of unit length,
squared differences weighted by a linear head a layer, averaged over the image and summed.

Both the backbone's weights and the heads are files of the user's. Without them there is no LPIPS:
a network with random weights would print figures that mean nothing.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn as nn

from irvis_fusion_core.errors import FrameError, FusionError

LEAST_SIDE = 32
"""Pixels: smaller images vanish in AlexNet's strides."""

# ImageNet's statistics for images in -1..1, as the metric's authors scale them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class LpipsUnavailableError(FusionError):
    """The weights of the metric are missing or are those of something else."""


class Backbone(NamedTuple):
    """A network as torchvision stores it: its layers, and after which ones it is read."""

    layers: Tuple[Tuple[str, Tuple[int, ...]], ...]  # ("conv", (in, out, kernel, stride, padding))
    taps: Tuple[int, ...]  # indices of the ReLUs whose output is compared
    channels: Tuple[int, ...]  # at the taps
    cache_pattern: str  # torchvision's file name in torch.hub's cache


def _vgg16_layers() -> Tuple[Tuple[str, Tuple[int, ...]], ...]:
    layers: List[Tuple[str, Tuple[int, ...]]] = []
    before = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [("conv", (before, width, 3, 1, 1)), ("relu", ())]
            before = width
        layers.append(("pool", (2, 2)))
    return tuple(layers[:-1])  # nothing is read after the last pooling


BACKBONES: Dict[str, Backbone] = {
    "alex": Backbone(
        (
            ("conv", (3, 64, 11, 4, 2)),
            ("relu", ()),
            ("pool", (3, 2)),
            ("conv", (64, 192, 5, 1, 2)),
            ("relu", ()),
            ("pool", (3, 2)),
            ("conv", (192, 384, 3, 1, 1)),
            ("relu", ()),
            ("conv", (384, 256, 3, 1, 1)),
            ("relu", ()),
            ("conv", (256, 256, 3, 1, 1)),
            ("relu", ()),
        ),
        (1, 4, 7, 9, 11),
        (64, 192, 384, 256, 256),
        "alexnet-*.pth",
    ),
    "vgg": Backbone(_vgg16_layers(), (3, 8, 15, 22, 29), (64, 128, 256, 512, 512), "vgg16-*.pth"),
}


class Lpips(nn.Module):
    """The distance of two batches of images; 0 for equal ones, larger is more different.

    ``forward(x, y)``: float N x 3 x H x W each, RGB in 0..1 -> float N. In eval mode and without
    gradients of its own. `open_lpips` makes one that holds trained weights.
    """

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        backbone = BACKBONES[net]
        self.taps = backbone.taps
        self.features = nn.Sequential(*[_layer(kind, sizes) for kind, sizes in backbone.layers])
        self.heads = nn.ParameterList(nn.Parameter(torch.empty(c)) for c in backbone.channels)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.shape != y.shape or x.dim() != 4 or x.shape[1] != 3 or min(x.shape[2:]) < LEAST_SIDE:
            raise FrameError(
                f"expected two batches N x 3 x H x W of one size of at least {LEAST_SIDE} pixels, "
                f"found {tuple(x.shape)} and {tuple(y.shape)}"
            )
        x, y = ((2.0 * p - 1.0 - self.shift) / self.scale for p in (x, y))
        distance = x.new_zeros(x.shape[0])
        head = iter(self.heads)
        for index, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if index in self.taps:
                difference = (_unit(x) - _unit(y)) ** 2
                distance = distance + (difference * next(head).view(1, -1, 1, 1)).sum(1).mean(
                    (1, 2)
                )
        return distance


def open_lpips(
    net: str = "alex",
    backbone_file: Optional[Union[str, Path]] = None,
    heads_file: Optional[Union[str, Path]] = None,
) -> Lpips:
    """The metric with trained weights.

    :param net: ``alex`` (what most tables quote) or ``vgg``.
    :param backbone_file: torchvision's AlexNet or VGG-16 state dict; None looks into torch.hub's
        cache, where torchvision keeps what it has downloaded.
    :param heads_file: the heads of version 0.1 for that net; None looks into an installed `lpips`
        package and for ``lpips_<net>.pth`` in the same cache.
    :raises LpipsUnavailableError: a file is missing, or does not hold these weights.
    """
    if net not in BACKBONES:
        raise LpipsUnavailableError(
            f"expected the LPIPS network out of {', '.join(BACKBONES)}, found {net!r}"
        )
    backbone_path = _found(backbone_file, backbone_candidates(net), f"{net} backbone")
    heads_path = _found(heads_file, heads_candidates(net), f"LPIPS heads of {net}")
    metric = Lpips(net)
    _load_features(metric, backbone_path, net)
    _load_heads(metric, heads_path, net)
    return metric


def backbone_candidates(net: str) -> List[Path]:
    """Where torchvision's weights of this network lie, when they do."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return sorted(cache.glob(BACKBONES[net].cache_pattern)) or [
        cache / BACKBONES[net].cache_pattern
    ]


def heads_candidates(net: str) -> List[Path]:
    """Where the heads lie: in the `lpips` package (not imported), or in torch.hub's cache."""
    found = [Path(torch.hub.get_dir()) / "checkpoints" / f"lpips_{net}.pth"]
    package = importlib.util.find_spec("lpips")
    if package is not None and package.origin:
        found.insert(0, Path(package.origin).parent / "weights" / "v0.1" / f"{net}.pth")
    return found


def _found(given: Optional[Union[str, Path]], candidates: List[Path], what: str) -> Path:
    for path in [Path(given)] if given else candidates:
        if path.is_file():
            return path
    places = [str(given)] if given else [str(path) for path in candidates]
    raise LpipsUnavailableError(
        f"expected the weights of the {what} at {' or '.join(places)}, found no such file; "
        "download them once (torchvision, the lpips package) or name a file"
    )


def _read(path: Path) -> Dict[str, torch.Tensor]:
    try:
        tensors = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: pickle, zip, runtime, EOF
        raise LpipsUnavailableError(f"{path} is no file of tensors: {error}") from error
    if not isinstance(tensors, dict):
        raise LpipsUnavailableError(
            f"expected names and tensors in {path}, found {type(tensors).__name__}"
        )
    return tensors


def _load_features(metric: Lpips, path: Path, net: str) -> None:
    tensors = _read(path)
    for name, parameter in metric.features.named_parameters():
        tensor = tensors.get("features." + name)
        if tensor is None or tensor.shape != parameter.shape:
            found = "none" if tensor is None else tuple(tensor.shape)
            raise LpipsUnavailableError(
                f"expected torchvision's {net} in {path}: features.{name} of shape "
                f"{tuple(parameter.shape)}, found {found}; is it of another network?"
            )
        parameter.data.copy_(tensor)


def _load_heads(metric: Lpips, path: Path, net: str) -> None:
    heads = {
        int(match.group(1)): tensor
        for match, tensor in (
            (re.search(r"(?:^|\.)lins?\.?(\d)\.", name), tensor)
            for name, tensor in _read(path).items()
        )
        if match
    }
    sizes = [heads[n].numel() if n in heads else None for n in range(len(metric.heads))]
    expected = [head.numel() for head in metric.heads]
    if sizes != expected:
        raise LpipsUnavailableError(
            f"expected five LPIPS heads of {expected} channels for {net} in {path}, found "
            f"{sizes}; are they of the other network?"
        )
    for number, head in enumerate(metric.heads):
        head.data.copy_(heads[number].reshape(-1))


def _layer(kind: str, sizes: Tuple[int, ...]) -> nn.Module:
    if kind == "conv":
        into, out, kernel, stride, padding = sizes
        return nn.Conv2d(into, out, kernel, stride, padding)
    return nn.MaxPool2d(*sizes) if kind == "pool" else nn.ReLU()


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Each pixel's features divided by their length."""
    return x / (x.pow(2).sum(1, keepdim=True).sqrt() + _EPSILON)
