"""LPIPS: how different two images look to a network trained on photographs.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018,
version 0.1. The metric and its linear heads are torchmetrics'; the weights of AlexNet or VGG-16
are torchvision's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from unittest import mock

import numpy as np
import torch
from torchmetrics.functional.image import lpips as torchmetrics_lpips

from irvis_fusion_core.errors import FrameError, expect_one_of
from training.losses.backbones import fill, open_features

BACKBONES = {"alex": "alexnet", "vgg": "vgg16"}
"""LPIPS's name of a network -> torchvision's."""

LEAST_SIDE = 32
"""Pixels: the strides of AlexNet leave nothing of smaller images."""


class Lpips:
    """The distance of two uint8 HxW luminances: 0 for equal ones, larger is more different."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        if x.shape != y.shape or x.ndim != 2 or min(x.shape) < LEAST_SIDE:
            raise FrameError(
                f"expected two luminances HxW of one size of at least {LEAST_SIDE} pixels, found "
                f"{x.shape} and {y.shape}"
            )
        with torch.inference_mode():
            planes = torch.from_numpy(np.stack([x, y]))[:, None, None] / 255.0
            return float(self._network(*planes.expand(-1, -1, 3, -1, -1), normalize=True))


def open_lpips(
    net: Literal["alex", "vgg"] = "alex",
    backbone_file: str | Path | None = None,
    heads_file: str | Path | None = None,
) -> Lpips:
    """Return the metric with trained weights.

    Args:
        net: ``alex`` (what most tables quote) or ``vgg``.
        backbone_file: torchvision's state dict of that network; None: see `open_features`.
        heads_file: Other heads than those that torchmetrics ships.

    Raises:
        WeightsMissingError: a file is missing, or holds other weights.
    """
    expect_one_of("the LPIPS network", net, BACKBONES)
    features = open_features(
        BACKBONES[net], backbone_file, "training.eval also takes a file: --lpips_backbone"
    )
    # torchmetrics takes its backbone from an installed torchvision only. This is the one function
    # in which it does.
    with mock.patch.object(torchmetrics_lpips, "_get_tv_model_features", lambda *_: features):
        network = torchmetrics_lpips._NoTrainLpips(net=net, pretrained=False)
    if heads_file is None:
        heads_file = Path(torchmetrics_lpips.__file__).parent / "lpips_models" / f"{net}.pth"
    heads = {name: p for name, p in network.named_parameters() if name.startswith("lin")}
    advice = "are the heads of the other network? Leave --lpips_heads out to take torchmetrics'"
    fill(heads, Path(heads_file), "the LPIPS head", advice)
    return Lpips(network)
