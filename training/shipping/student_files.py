"""Open a trained student."""

from __future__ import annotations

from pathlib import Path

from irvis_fusion_core.errors import CheckpointError
from irvis_fusion_core.network.checkpoint import load_checkpoint
from irvis_fusion_core.network.student import SIZES, Student, create_student_model


def open_student(path: str | Path, variant: str | None = None) -> Student:
    """Return the student of a checkpoint, in eval mode on the CPU.

    Args:
        path: ``.safetensors``, which names its variant, or ``.pth`` or ``.pt``, which fits one.

    Raises:
        CheckpointError: Missing, truncated, foreign, or of another variant than `variant`.
    """
    path = Path(path)
    if variant is not None:
        return load_checkpoint(path, create_student_model(variant))
    if path.suffix == ".safetensors":
        return load_checkpoint(path)
    refusals: dict[str, CheckpointError] = {}
    for name in SIZES:
        try:
            return load_checkpoint(path, create_student_model(name))
        except CheckpointError as error:
            refusals[name] = error
    # A file that cannot be read is refused in the same words whatever it was to be loaded into.
    if len({str(error) for error in refusals.values()}) == 1:
        raise next(iter(refusals.values()))
    raise CheckpointError(
        f"expected the weights of a {', '.join(SIZES)} student in {path}, found that they fit "
        "none: " + "; ".join(str(error) for error in refusals.values())
    )
