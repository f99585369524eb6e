"""Save and load the network of a teacher: ours as safetensors, the published ones as they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import CheckpointError, ConfigurationError, expect_one_of
from irvis_fusion_core.network import checkpoint
from training.teachers import unet
from training.teachers.mask_difuser import network as mask_difuser
from training.teachers.mask_difuser.teacher import from_published

PREFIX = "irvis_fusion.teacher."
COUNTS = ("res_blocks", "channel_mult", "content", "semantic_layers")
"""Fields that say, as a number or by their length, how many blocks a network has."""
TEACHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "conditional": (unet.ConditionalUNet, {"small": unet.SMALL}),
    "ddfm": (unet.UNet, {"small": unet.SMALL, "published": unet.PUBLISHED}),
    "mask_difuser": (
        mask_difuser.MaskDiFuserNetwork,
        {"small": mask_difuser.SMALL, "published": mask_difuser.PUBLISHED},
    ),
}
"""Teacher -> class of its network, configurations by name."""


def create_network(
    teacher: str, size: str = "small", config: dict[str, Any] | None = None
) -> torch.nn.Module:
    """Return a network with fresh weights; `config` has the fields that differ from `size`."""
    expect_one_of("teacher", teacher, TEACHERS)
    network, sizes = TEACHERS[teacher]
    expect_one_of("size", size, sizes)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in (config or {}).items()}
    try:
        return network(dataclasses.replace(sizes[size], **fields))
    except TypeError as error:
        known = [field.name for field in dataclasses.fields(sizes[size])]
        raise ConfigurationError(
            f"expected fields out of {known} for {teacher}, found {sorted(fields)}: {error}"
        ) from error


def save_network(
    network: torch.nn.Module, path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write weights and configuration as safetensors, whole or not at all."""
    teacher = next(name for name, row in TEACHERS.items() if isinstance(network, row[0]))
    header = {
        PREFIX + "name": teacher,
        PREFIX + "config": json.dumps(dataclasses.asdict(network.config)),
        **(metadata or {}),
    }
    checkpoint.save_tensors(network, path, header)


def load_network(teacher: str, path: str | Path) -> torch.nn.Module:
    """Return the network of a file, in eval mode, on the CPU, fp32.

    Args:
        path: ``.safetensors`` of ours, or the published ``.pt`` / ``.pth`` of that teacher.

    Raises:
        CheckpointError: Missing, truncated, of the other teacher, or names or shapes do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint at {path}, there is no such file")
    if path.suffix == ".safetensors" or "published" not in TEACHERS[teacher][1]:
        network, tensors = _open_ours(teacher, path)
    else:
        tensors = checkpoint.read_pth(path)
        with torch.device("meta"):
            network = create_network(teacher, "published")
        if teacher == "mask_difuser":
            tensors = from_published(tensors)
    misfits = checkpoint.find_misfits(tensors, network)
    if misfits:
        raise CheckpointError(
            f"expected {len(network.state_dict())} tensors of a {type(network).__name__} in "
            f"{path}, found {misfits}; is it the checkpoint of another teacher or configuration?"
        )
    # Built without memory of its own and filled by assignment: the published network is 2.2 GB.
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=True, assign=True)
    if teacher == "mask_difuser":
        network.fill_tables()
    return network.eval()


def _open_ours(teacher: str, path: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    tensors, header = checkpoint.read_safetensors(path)
    if header.get(PREFIX + "name") != teacher:
        raise CheckpointError(
            f"expected weights of {teacher} in {path}, found {header.get(PREFIX + 'name')!r}; "
            "train one with training.train_teacher, or give the published file (.pt, .pth)"
        )
    try:
        config = parse_json_object(header[PREFIX + "config"])
        # Earlier files hold two options of which only one value was ever used.
        for retired in ("updown_blocks", "scale_shift"):
            if config.get(retired) is True:
                del config[retired]
        counts = [len(v) if isinstance(v, list) else v for v in map(config.get, COUNTS) if v]
        if any(not isinstance(count, int) or count > len(tensors) for count in counts):
            raise ConfigurationError(f"blocks or levels {counts} for {len(tensors)} tensors")
        with torch.device("meta"):
            network = create_network(teacher, "small", config)
    # Of numbers that no network has: zero divides, negative or huge sides.
    except (ConfigurationError, LookupError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not a whole file of ours: {error}; copy or train it again"
        ) from error
    # Copied: the file's own memory must not stay in use when it is replaced.
    return network, {name: tensor.clone() for name, tensor in tensors.items()}
