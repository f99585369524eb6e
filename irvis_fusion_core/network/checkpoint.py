"""Save and load a student's weights: safetensors with metadata, or a `.pth` of tensors only.

A `.pth` is read with `weights_only=True`: a foreign file cannot run code.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import torch

from irvis_fusion_core.atomic_file import replacing
from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import CheckpointError, ConfigurationError
from irvis_fusion_core.network.student import SIZES, Student, create_student_model

FORMAT = "2"  # 1 had another last step: gates for each pixel of a 4 x 4 block
METADATA_PREFIX = "irvis_fusion."
SAFE_TORCH = (2, 6)


def save_checkpoint(
    model: Student, path: str | Path, metadata: dict[str, str] | None = None, half: bool = False
) -> None:
    """Write the weights as safetensors, atomically.

    Args:
        metadata: extra strings kept in the file's header (training recipe, data).
        half: store the weights of convolutions as fp16 (half the size); statistics, scales and
            biases stay fp32, and loading gives fp32 again.

    Raises:
        ConfigurationError: the path does not end in `.safetensors`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigurationError(
            f"expected a path that ends in .safetensors, found {path}; "
            ".pth files are read, not written"
        )
    header = {
        METADATA_PREFIX + "format": FORMAT,
        METADATA_PREFIX + "variant": model.variant,
        METADATA_PREFIX + "in_channels": str(model.in_channels),
        METADATA_PREFIX + "out_channels": str(model.out_channels),
        **(metadata or {}),
    }
    save_tensors(model, path, header, half)


def save_tensors(
    network: torch.nn.Module, path: str | Path, header: dict[str, str], half: bool = False
) -> None:
    """Write any network's state as safetensors, atomically; `half` as in `save_checkpoint`."""
    from safetensors.torch import save_file

    tensors = {
        name: (tensor.half() if half and tensor.dim() == 4 else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    with replacing(path) as part:
        save_file(tensors, str(part), header)


def load_checkpoint(path: str | Path, model: Student | str | None = None) -> Student:
    """Load weights into `model`, or into a new student of the size the file names.

    Args:
        model: A student, or the variant of a new one.
        path: an irvis_fusion `.safetensors`, or `.pth`/`.pt` with a state dict (bare, or under
            `model`, `state_dict` or `average`), whose shapes tell the size.

    Returns:
        The student in eval mode, on the CPU.

    Raises:
        CheckpointError: missing, truncated, foreign, or of another size than `model`.
    """
    path = Path(path)
    if isinstance(model, str):
        model = create_student_model(model)
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint at {path}, there is no such file")
    if path.suffix == ".safetensors":
        tensors, header = read_safetensors(path)
        if model is None:
            model = _student_of(header, path)
    else:
        tensors = read_pth(path)
        if model is None:
            model = _student_that_fits(tensors, path)
    misfits = find_misfits(tensors, model)
    if misfits:
        raise CheckpointError(
            f"{path} does not fit a {model.variant} student: {misfits}; is it of another variant?"
        )
    model.load_state_dict(tensors)
    return model.eval()


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file; {} where there is none."""
    try:
        with open(path, "rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = parse_json_object(file.read(min(length, 100_000_000)))
        metadata = header.get("__metadata__", {})
        if not isinstance(metadata, dict) or not all(
            isinstance(text, str) for text in metadata.values()
        ):
            raise ValueError("metadata other than names and texts")
        return metadata
    except (OSError, struct.error, ValueError) as error:
        raise CheckpointError(
            f"expected a safetensors file at {path}: {error}; is it truncated, "
            "or a Git LFS pointer?"
        ) from error


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: missing, truncated or foreign.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_metadata(path)
    try:
        return load_file(str(path)), header
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error}; copy or train it again"
        ) from error


def _student_of(header: dict[str, str], path: Path) -> Student:
    found = header.get(METADATA_PREFIX + "format")
    if found != FORMAT:
        raise CheckpointError(
            f"expected irvis_fusion weights (format {FORMAT}) in {path}, found format {found!r}; "
            "weights of format 1 fit the release that trained them alone: train them again. Pass "
            "the model if other weights fit it"
        )
    try:
        return create_student_model(
            header[METADATA_PREFIX + "variant"],
            int(header.get(METADATA_PREFIX + "in_channels", "3")),
            int(header.get(METADATA_PREFIX + "out_channels", "3")),
        )
    except (KeyError, ValueError, ConfigurationError) as error:
        raise CheckpointError(
            f"{path} names no known student: {error}; pass the model to load it into"
        ) from error


def _student_that_fits(tensors: dict[str, torch.Tensor], path: Path) -> Student:
    misfits = {}
    for variant in SIZES:
        student = create_student_model(variant)
        misfits[variant] = find_misfits(tensors, student)
        if not misfits[variant]:
            return student
    raise CheckpointError(
        f"expected the weights of a {', '.join(SIZES)} student in {path}, found that they fit "
        "none: " + "; ".join(f"{variant}: {found}" for variant, found in misfits.items())
    )


def read_pth(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a `.pth` (bare, or under `average`, `model` or `state_dict`).

    Raises:
        CheckpointError: it is no state dict of tensors.
    """
    loaded = load_plain(path)
    for key in ("average", "model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if (
        not isinstance(loaded, dict)
        or not loaded
        or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor)
            for name, tensor in loaded.items()
        )
    ):
        raise CheckpointError(
            f"expected names and tensors in {path}, found {type(loaded).__name__}"
        )
    return loaded


def load_plain(path: str | Path) -> Any:
    """Return what `torch.save` wrote of tensors and plain values, on the CPU; runs no code.

    All reading of pickled files goes through here. Below PyTorch 2.6 `weights_only` can be
    circumvented (CVE-2025-32434).

    Raises:
        CheckpointError: missing, broken, of anything else, or PyTorch is too old to tell.
    """
    if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < SAFE_TORCH:
        raise CheckpointError(
            f"expected PyTorch {SAFE_TORCH[0]}.{SAFE_TORCH[1]} or newer to read {path}, found "
            f"{torch.__version__}, in which such a file can run code; install a newer one, or "
            "convert the file on another machine: safetensors.torch.save_file(tensors, path)"
        )
    try:
        return torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: pickle, zip, runtime, EOF
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not a checkpoint of tensors alone: {reason}; copy it again"
        ) from error


def find_misfits(tensors: dict[str, torch.Tensor], model: torch.nn.Module) -> str:
    """Return how many names or shapes differ from the model's, with the first; "" if none."""
    expected = model.state_dict()
    findings = {
        "missing": sorted(set(expected) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(expected)),
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in sorted(set(expected) & set(tensors))
            if tensors[name].shape != expected[name].shape
        ],
    }
    return "; ".join(
        f"{len(names)} {what} (first: {', '.join(names[:3])})"
        for what, names in findings.items()
        if names
    )
