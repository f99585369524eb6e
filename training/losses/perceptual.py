"""VGG-16 features of images, and the perceptual loss on them.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
ECCV 2016. The layers are defined here; the weights are torchvision's ``vgg16-397923af.pth``, found
in its cache or given as a file. Without trained weights there is no such loss: distances in
a random network would be printed as if they meant something.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F

from training.errors import TrainingError

WEIGHTS_FILE = "vgg16-397923af.pth"
WEIGHTS_URL = "https://download.pytorch.org/models/" + WEIGHTS_FILE

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each block; blocks are halved in between."""

# ImageNet's statistics, which the weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class WeightsMissingError(TrainingError):
    """Trained weights of VGG-16 are not there, or are those of something else."""


class Vgg16(nn.Module):
    """The convolutions of VGG-16 (arXiv 1409.1556), frozen; configuration D.

    ``forward(luminance)``: float N x 1 x H x W, grey levels 0..255 -> the output of the last ReLU
    of each block: 64, 128, 256, 512, 512 channels at 1, 1/2, 1/4, 1/8 and 1/16 of the size.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: List[nn.Module] = []
        self.taps: List[int] = []
        before = 3
        for block in WIDTHS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for width in block:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self.taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, luminance: torch.Tensor, blocks: int = 5) -> List[torch.Tensor]:
        x = ((luminance / 255.0).expand(-1, 3, -1, -1) - self.mean) / self.std
        found = []
        for index, layer in enumerate(self.features[: self.taps[blocks - 1] + 1]):
            x = layer(x)
            if index in self.taps:
                found.append(x)
        return found


def perceptual_distance(
    fused: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Mean squared difference of the features of each block, relative to the teacher's own size.

    The deeper the block the larger its numbers; relative, every block counts alike.
    """
    terms = [F.mse_loss(f, t) / t.square().mean().clamp_min(1e-6) for f, t in zip(fused, teacher)]
    return torch.stack(terms).mean()


def open_vgg16(weights: Optional[Union[str, Path]] = None) -> Vgg16:
    """VGG-16 with torchvision's weights, in eval mode.

    :param weights: their file (``.pth`` or ``.safetensors``); None looks into torch.hub's cache.
    :raises WeightsMissingError: there is no such file, or it holds other weights.
    """
    path = Path(weights) if weights else _cached()
    if not path.is_file():
        raise WeightsMissingError(
            f"expected the weights of VGG-16 at {path}, found no such file; download "
            f"{WEIGHTS_URL} there or name it by --vgg_weights, or train without them: "
            "--lambda_perc 0 --lambda_feat 0"
        )
    model = Vgg16()
    tensors = _read(path)
    for name, parameter in model.features.named_parameters():
        tensor = tensors.get("features." + name)
        if not isinstance(tensor, torch.Tensor) or tensor.shape != parameter.shape:
            found = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else "none"
            raise WeightsMissingError(
                f"expected torchvision's VGG-16 in {path}: features.{name} of shape "
                f"{tuple(parameter.shape)}, found {found}; download {WEIGHTS_URL}"
            )
        parameter.data.copy_(tensor)
    return model.eval()


def _cached() -> Path:
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return next(iter(sorted(cache.glob("vgg16-*.pth"))), cache / WEIGHTS_FILE)


def _read(path: Path) -> dict:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        tensors = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # many kinds: pickle, zip, runtime, EOF, safetensors' own
        raise WeightsMissingError(
            f"expected a file of tensors at {path}: {error}; download {WEIGHTS_URL} again"
        ) from error
    if not isinstance(tensors, dict):
        raise WeightsMissingError(
            f"expected names and tensors in {path}, found {type(tensors).__name__}"
        )
    return tensors


def feature_shapes() -> Tuple[int, int, int]:
    """Channels of the last three blocks, which have the scales of the student's features."""
    return WIDTHS[2][-1], WIDTHS[3][-1], WIDTHS[4][-1]
