"""The smallest published fusion network, to be timed on the same engines as ours.

MMDRFuse (arXiv 2408.15641, https://github.com/yanglinDeng/MMDRFuse) describes its student as two
convolutions of 3x3 with reflected borders on the two grey images side by side: 2 -> 4 channels and
ReLU, 4 -> 1 channel and tanh; 113 parameters, .44 KB. It works at full resolution throughout. The
weights here are random: time does not depend on them. Luminance before it and the visible chroma
after it are added, so that it does the same job as ours.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
import torch.nn as nn

from irvis_fusion_core.network.export import describe_graph, trace, write_checked
from irvis_fusion_core.network.student import luminance


class MiniNetwork(nn.Sequential):
    """N x 2 x H x W, infrared and visible in 0..1 -> fused N x 1 x H x W, -1..1."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for channels, activation in (((2, 4), nn.ReLU()), ((4, 1), nn.Tanh())):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(*channels, 3), activation]
        super().__init__(*layers)


class PixelMini(nn.Module):
    """The network between uint8 N x H x W x 1, uint8 N x H x W x 3 and uint8 N x H x W x 3."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MiniNetwork()

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        ir, vis = (x.permute(0, 3, 1, 2).float() / 255.0 for x in (ir, vis))
        y = luminance(vis)
        fused = vis + (self.network(torch.cat([ir, y], 1)) - y)
        return (fused * 255.0).round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)


def write_mini_network(path: Path) -> PixelMini:
    """Write the network as an ONNX file of any size that our engines open; return it."""
    torch.manual_seed(0)
    network = PixelMini().eval()
    example = tuple(torch.zeros(1, 70, 90, channels, dtype=torch.uint8) for channels in (1, 3))
    axes = {name: {1: "height", 2: "width"} for name in ("ir", "vis", "fused")}
    model = trace(onnx, network, example, "fused", axes)
    facts = {"format": "1", "variant": path.stem, "precision": "fp32", "vis_order": "rgb"}
    describe_graph(model, facts)
    write_checked(onnx, model, path)
    return network
