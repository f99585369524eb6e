"""The fusions that the tables compare: the trivial ones and models as a robot runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from benchmarks.shared.pairs import Pair
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS

Fusion = Callable[[Pair], np.ndarray]
"""From a pair to uint8 luminance HxW or RGB HxWx3."""

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


def trivial_fusions(names: Iterable[str] = tuple(TRIVIAL_FUSIONS)) -> dict[str, Fusion]:
    """Return trivial fusions by name; they give luminance."""

    def of(name: str) -> Fusion:
        return lambda pair: TRIVIAL_FUSIONS[name](pair.ir, pair.luma)

    return {name: of(name) for name in names}


def open_models(
    stack: ExitStack, models: Iterable[str], backend: str = "auto", threads: int = 0
) -> dict[str, Fusion]:
    """Open models; they give RGB.

    Args:
        stack: Closes them.
        models: MODEL[=NAME] each: a shipped name, an .onnx file or a checkpoint. NAME is its row
            in the table, by default the file's name, or the folder's for a checkpoint.
        backend: Engine of models that are no checkpoints.
        threads: Of the engine; 0 leaves it the choice.
    """
    fusions = {}
    for text in models:
        model, _, name = text.partition("=")
        path = Path(model)
        if path.suffix in CHECKPOINT_SUFFIXES:
            fusions[name or path.parent.name] = _checkpoint(stack, path, threads)
        else:
            fusion = RealtimeFusion(model, backend, threads=threads)
            fusions[name or path.stem] = _exported(stack.enter_context(fusion))
    return fusions


def _exported(fusion: RealtimeFusion) -> Fusion:
    return lambda pair: fusion.fuse_frame(pair.ir, pair.vis, order="rgb")


def _checkpoint(stack: ExitStack, path: Path, threads: int) -> Fusion:
    import torch

    from training.evaluation.fusers import CheckpointFuser

    if threads:
        torch.set_num_threads(threads)
    fuser = CheckpointFuser(path, device="cpu")
    stack.callback(fuser.close)
    return lambda pair: fuser.fuse([pair.ir], [pair.vis])[0]


def in_colour(name: str, image: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return RGB of a fused image: luminance gets the visible chroma (BT.601), IR stays grey."""
    if image.ndim == 3:
        return image
    if name == "IR":
        return np.dstack([image] * 3)
    coded = cv2.cvtColor(vis, cv2.COLOR_RGB2YCrCb)
    coded[..., 0] = image
    return cv2.cvtColor(coded, cv2.COLOR_YCrCb2RGB)
