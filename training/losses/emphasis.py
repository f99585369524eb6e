"""Weights of terms for the images of one training folder.

    --emphasis DATA/roadscene/train:src_ssim=3 --emphasis DATA/roadscene/train:src_qabf=0.5

Fused images of different cameras have different faults; a common weight improves one camera and
degrades another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from irvis_fusion_core.errors import ConfigurationError
from training.data.dataset import Root
from training.losses import source_terms as losses

PREFIX = "src_"


def parse_emphasis(texts: Sequence[str], roots: Sequence[Root]) -> list[dict[str, float]]:
    """Return the factors of terms (by name without ``src_``) of each root.

    Args:
        texts: ``DIR:TERM=FACTOR`` each; DIR is the folder of one or several roots.

    Raises:
        ConfigurationError: No such form, folder or term, a term given twice, or a wrong factor.
    """
    found: list[dict[str, float]] = [{} for _ in roots]
    names = [PREFIX + name for name in losses.SOURCE_TERMS]
    for text in texts:
        left, _, number = text.rpartition("=")
        folder, _, term = left.rpartition(":")
        try:
            factor = float(number)
        except ValueError:
            factor = -1.0
        if not folder or not 0.0 <= factor < float("inf"):
            raise ConfigurationError(
                "expected --emphasis DIR:TERM=FACTOR with a factor of 0 or more, such as "
                f"data/train:src_ssim=2, found {text!r}"
            )
        if term not in names:
            raise ConfigurationError(
                f"expected a term out of {', '.join(names)} in --emphasis, found {term!r}"
            )
        places = [row for row, root in zip(found, roots) if root.folder == Path(folder)]
        if not places:
            raise ConfigurationError(
                f"expected the folder of a --train_root in --emphasis, found {folder!r}; there "
                f"are {', '.join(str(root.folder) for root in roots)}"
            )
        name = term[len(PREFIX) :]
        for row in places:
            if name in row:
                raise ConfigurationError(f"--emphasis has {term} of {folder} twice")
            row[name] = factor
    return found


def factors_of(
    emphasis: Sequence[Mapping[str, float]], roots: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the factors (float N) of images from folders of these numbers (N), by term."""
    # Looked up where the images are: nothing waits for a GPU.
    return {
        name: torch.tensor([row.get(name, 1.0) for row in emphasis], device=roots.device)[roots]
        for name in sorted({name for of_root in emphasis for name in of_root})
    }
