"""Save and load the network of a teacher: ours as safetensors, the published ones as they are.

Nothing is unpickled: a ``.pt`` or ``.pth`` is read with ``weights_only=True``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from irvis_fusion_core.atomic_file import replacing
from irvis_fusion_core.errors import CheckpointError, ConfigurationError
from irvis_fusion_core.network.checkpoint import read_metadata
from training.teachers import unet
from training.teachers.mask_difuser import network as mask_difuser_network
from training.teachers.mask_difuser.teacher import from_published

PREFIX = "irvis_fusion.teacher."
TEACHERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "ddfm": (unet.UNet, unet.UNetConfig, {"small": unet.SMALL, "published": unet.PUBLISHED}),
    "mask_difuser": (
        mask_difuser_network.MaskDiFuserNetwork,
        mask_difuser_network.MaskDiFuserConfig,
        {"small": mask_difuser_network.SMALL, "published": mask_difuser_network.PUBLISHED},
    ),
}
"""Teacher -> class of its network, class of its configuration, configurations by name."""


def create_network(
    teacher: str, size: str = "small", config: dict[str, Any] | None = None
) -> torch.nn.Module:
    """Return a network with fresh weights.

    Args:
        config: Fields of the configuration that differ from `size`.

    Raises:
        ConfigurationError: Unknown teacher, size, or field.
    """
    if teacher not in TEACHERS:
        raise ConfigurationError(
            f"expected a teacher out of {sorted(TEACHERS)}, found {teacher!r}"
        )
    network, _, sizes = TEACHERS[teacher]
    if size not in sizes:
        raise ConfigurationError(f"expected a size out of {sorted(sizes)}, found {size!r}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in (config or {}).items()}
    try:
        return network(dataclasses.replace(sizes[size], **fields))
    except TypeError as error:
        known = [field.name for field in dataclasses.fields(sizes[size])]
        raise ConfigurationError(
            f"expected fields out of {known} for {teacher}, found {sorted(fields)}: {error}"
        ) from error


def save_network(
    network: torch.nn.Module,
    path: str | Path,
    metadata: dict[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write weights and configuration as safetensors, whole or not at all.

    Args:
        half: Store matrices and convolutions in fp16; loading gives fp32 again.
    """
    from safetensors.torch import save_file

    teacher = next(name for name, row in TEACHERS.items() if isinstance(network, row[0]))
    header = {
        PREFIX + "name": teacher,
        PREFIX + "config": json.dumps(dataclasses.asdict(network.config)),
        **(metadata or {}),
    }
    tensors = {
        name: (tensor.half() if half and tensor.dim() > 1 else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    with replacing(path) as part:
        save_file(tensors, str(part), header)


def load_network(teacher: str, path: str | Path) -> torch.nn.Module:
    """Return the network of a file, in eval mode, on the CPU, fp32.

    Args:
        path: ``.safetensors`` of ours, or the published ``.pt`` / ``.pth`` of that teacher.

    Raises:
        CheckpointError: Missing, truncated, of the other teacher, or it does not fit: the message
            counts and names keys that are missing, unexpected, and of another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint at {path}, there is no such file")
    if path.suffix == ".safetensors":
        network, tensors = _open_ours(teacher, path)
    else:
        network, tensors = create_on_meta(teacher, "published"), _read_published(path)
        if teacher == "mask_difuser":
            tensors = from_published(tensors)
    check_fit(tensors, network, path)
    # Built without memory of its own and filled by assignment: the published network is 2.2 GB.
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=True, assign=True)
    if teacher == "mask_difuser":
        network.fill_tables()
    return network.eval()


def create_on_meta(
    teacher: str, size: str = "small", config: dict[str, Any] | None = None
) -> torch.nn.Module:
    """Return a network as `create_network`, without memory for the weights."""
    with torch.device("meta"):
        return create_network(teacher, size, config)


def check_fit(tensors: dict[str, torch.Tensor], network: torch.nn.Module, path: Path) -> None:
    """Raise CheckpointError where names or shapes differ from the network's."""
    expected = network.state_dict()
    shared = sorted(set(expected) & set(tensors))
    findings = {
        "missing": sorted(set(expected) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(expected)),
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in shared
            if tensors[name].shape != expected[name].shape
        ],
    }
    if any(findings.values()):
        found = "; ".join(
            f"{len(names)} {what} (first: {', '.join(names[:3])})"
            for what, names in findings.items()
            if names
        )
        raise CheckpointError(
            f"expected {len(expected)} tensors of a {type(network).__name__} in {path}, found "
            f"{found}; is it the checkpoint of another teacher or of another configuration?"
        )


def _open_ours(teacher: str, path: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_metadata(path)
    if header.get(PREFIX + "name") != teacher:
        raise CheckpointError(
            f"expected weights of {teacher} in {path}, found {header.get(PREFIX + 'name')!r}; "
            "train one with training.train_teacher, or give the published file (.pt, .pth)"
        )
    try:
        network = create_on_meta(teacher, "small", json.loads(header[PREFIX + "config"]))
        # Copied: the file's own memory must not stay in use when it is replaced.
        return network, {name: tensor.clone() for name, tensor in load_file(str(path)).items()}
    except (SafetensorError, ConfigurationError, KeyError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole file of ours: {error}; copy or train it again"
        ) from error


def _read_published(path: Path) -> dict[str, torch.Tensor]:
    try:
        loaded: Any = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: pickle, zip, runtime, EOF
        raise CheckpointError(f"{path} is not a checkpoint of tensors alone: {error}") from error
    for key in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise CheckpointError(
            f"expected names and tensors in {path}, found {type(loaded).__name__}"
        )
    return loaded
