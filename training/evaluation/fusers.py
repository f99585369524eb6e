"""Fusers to evaluate: a checkpoint in torch, or an exported file as a robot runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends.torch import fold_batch_norms
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.network.checkpoint import load_checkpoint
from irvis_fusion_core.network.pixel_student import PixelStudent


class CheckpointFuser:
    """A student's weights, run by torch, several pairs at a time.

    Args:
        variant: That the weights have to be of; None for any.
        device: ``cpu``, ``cuda`` ...; None takes a GPU where torch can use one.

    Raises:
        ConfigurationError: torch cannot use the device.
    """

    def __init__(self, path: Path, variant: str | None = None, device: str | None = None) -> None:
        student = load_checkpoint(path, variant)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigurationError(
                f"expected torch to use {device}, found that it cannot; pass --device cpu"
            )
        self.device = torch.device(device)
        self.description: dict[str, Any] = {
            "file": str(path),
            "variant": student.variant,
            "parameters": sum(p.numel() for p in student.parameters()),
            "engine": f"torch {torch.__version__}",
            "device": str(self.device),
            "precision": "fp32",
        }
        fold_batch_norms(student)
        self._pixels = PixelStudent(student).eval().to(self.device)

    def fuse(self, ir: Sequence[np.ndarray], vis: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return uint8 HxWx3 RGB for each pair of uint8 HxW and HxWx3 RGB, in one batch."""
        with torch.inference_mode():
            a, b = (torch.from_numpy(np.stack(side)).to(self.device) for side in (ir, vis))
            return list(self._pixels(a[..., None], b).cpu().numpy())

    def close(self) -> None:
        del self._pixels


class ExportedFuser:
    """An exported .onnx, or a model that ships, run by `RealtimeFusion` as the node runs it."""

    def __init__(
        self, model: str, backend: str = "auto", device: str | None = None, threads: int = 0
    ) -> None:
        self._fusion = RealtimeFusion(model, backend, thermal=None, device=device, threads=threads)
        plain = (str, int, float, type(None))
        facts = {k: v for k, v in self._fusion.describe().items() if isinstance(v, plain)}
        self.description: dict[str, Any] = {"file": str(model), **facts}

    def fuse(self, ir: Sequence[np.ndarray], vis: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the same as `CheckpointFuser.fuse`, one pair after the other."""
        return [self._fusion.fuse_frame(a, b) for a, b in zip(ir, vis)]

    def close(self) -> None:
        self._fusion.close()


Fuser = CheckpointFuser | ExportedFuser
"""A model that fuses pairs of one size; `description` has JSON-like facts, ``file`` among them."""


def open_fuser(
    model: str,
    variant: str | None = None,
    backend: str = "auto",
    device: str | None = None,
    threads: int = 0,
) -> Fuser:
    """Open a checkpoint (.safetensors, .pth, .pt), an .onnx, or a shipped model by its name."""
    if threads > 0:
        torch.set_num_threads(threads)
    if Path(model).suffix == ".onnx" or model in model_zoo.VARIANTS:
        fuser = ExportedFuser(model, backend, device, threads)
        found = fuser.description.get("variant")
        if variant is not None and found != variant:
            fuser.close()
            raise ConfigurationError(
                f"expected a {variant} student in {model}, found {found}; leave --variant out"
            )
        return fuser
    return CheckpointFuser(Path(model), variant, device)


def recolour(y: np.ndarray, vis: np.ndarray, vis_y: np.ndarray) -> np.ndarray:
    """Return a luminance HxW with the chroma of `vis` HxWx3, unscaled."""
    change = y.astype(np.int16) - vis_y
    return (vis + change[:, :, None]).clip(0, 255).astype(np.uint8)
