"""Weights and ONNX files of the displacement network.

The ONNX file has inputs `ir` and `vis`, uint8 [1, height, width, 1], whose sides are multiples of
`displacement.MULTIPLE`, and the output `field`, float32 [3, height/4, width/4]: displacement x and
y in pixels of the input, and the confidence.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn as nn

from irvis_fusion_core.errors import CheckpointError
from irvis_fusion_core.network.checkpoint import (
    METADATA_PREFIX,
    find_misfits,
    read_safetensors,
    save_tensors,
)
from irvis_fusion_core.network.displacement import CELL, MULTIPLE, DisplacementNetwork
from irvis_fusion_core.network.export import describe_graph, trace, write_checked
from irvis_fusion_core.optional_packages import import_engine

KIND = "displacement"
_SIZES = ("width", "match", "steps")
_SIZE = re.compile(r"[1-9]\d{0,2}", re.ASCII)  # memory is taken before the weights are compared


def save_network(
    network: DisplacementNetwork, path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write the weights as safetensors, atomically."""
    header = {METADATA_PREFIX + "variant": KIND, **(metadata or {})}
    header.update({METADATA_PREFIX + name: str(getattr(network, name)) for name in _SIZES})
    save_tensors(network, path, header)


def load_network(path: str | Path) -> DisplacementNetwork:
    """Return the network of a file of `save_network`, in eval mode.

    Raises:
        CheckpointError: missing, truncated or foreign.
    """
    tensors, header = read_safetensors(Path(path))
    sizes = {name: header.get(METADATA_PREFIX + name, "") for name in _SIZES}
    if header.get(METADATA_PREFIX + "variant") != KIND or not all(
        map(_SIZE.fullmatch, sizes.values())
    ):
        raise CheckpointError(
            f"expected weights of training.train_registration in {path}, found other ones"
        )
    try:
        network = DisplacementNetwork(**{name: int(value) for name, value in sizes.items()})
    except ValueError as error:  # a width that the groups do not divide
        raise CheckpointError(
            f"expected sizes of the displacement network in {path}, found {sizes}: {error}"
        ) from error
    if misfits := find_misfits(tensors, network):
        raise CheckpointError(f"{path} does not fit the displacement network: {misfits}")
    network.load_state_dict(tensors)
    return network.eval()


class _Pixels(nn.Module):
    """The network from pixels as they come to one array."""

    def __init__(self, network: DisplacementNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        planes = [x.permute(0, 3, 1, 2).float() for x in (ir, vis)]
        return torch.cat(self.network(*planes), 1)[0]


def export_network(network: DisplacementNetwork, path: str | Path) -> Path:
    """Write the ONNX file, checked and atomic; for any size.

    Raises:
        EngineUnavailableError: the `onnx` package is missing.
    """
    onnx = import_engine("onnx")
    example = tuple(torch.zeros(1, 8 * MULTIPLE, 6 * MULTIPLE, 1).to(torch.uint8) for _ in "iv")
    axes = {name: {1: "height", 2: "width"} for name in ("ir", "vis")}
    axes["field"] = {1: "rows", 2: "columns"}
    graph = trace(onnx, _Pixels(network).eval(), example, "field", axes)
    describe_graph(graph, {"format": "1", "variant": KIND, "precision": "fp32", "cell": str(CELL)})
    write_checked(onnx, graph, Path(path))
    return Path(path)
