"""What an evaluation can fuse with: a checkpoint in torch, an exported file as a robot runs it,
and the trivial fusions that every table needs beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends.torch import fold_batch_norms
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.network.pixel_student import PixelStudent
from training.loop.validation import BASELINES
from training.shipping.student_files import open_student

TRIVIAL: Dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    **BASELINES,
    "visible": lambda ir, y: y,
    "IR": lambda ir, y: ir,
}
"""Of uint8 H x W planes, infrared and visible luminance, to the fused luminance."""


class CheckpointFuser:
    """A student's weights, run by torch, several pairs of one size at a time.

    :param path: .safetensors, .pth or .pt; errors as `open_student`.
    :param device: ``cpu``, ``cuda`` ...; None takes a GPU where torch can use one.
    """

    def __init__(
        self, path: Path, variant: Optional[str] = None, device: Optional[str] = None
    ) -> None:
        student = open_student(path, variant)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigurationError(
                f"expected torch to use {device}, found that it cannot; pass --device cpu"
            )
        self.device = torch.device(device)
        self.description: Dict[str, Any] = {
            "file": str(path),
            "variant": student.variant,
            "parameters": sum(p.numel() for p in student.parameters()),
            "engine": f"torch {torch.__version__}",
            "device": str(self.device),
            "precision": "fp32",
        }
        fold_batch_norms(student)
        self._pixels = PixelStudent(student).eval().to(self.device)

    def fuse(self, ir: Sequence[np.ndarray], vis: Sequence[np.ndarray]) -> List[np.ndarray]:
        """uint8 H x W and uint8 H x W x 3 RGB, all of one size -> uint8 H x W x 3 RGB each."""
        with torch.inference_mode():
            a, b = (torch.from_numpy(np.stack(side)).to(self.device) for side in (ir, vis))
            return list(self._pixels(a[..., None], b).cpu().numpy())

    def close(self) -> None:
        """Free the weights."""
        del self._pixels


class ExportedFuser:
    """An exported .onnx, or a model that ships, run by `RealtimeFusion` as the node runs it.

    Errors as `RealtimeFusion`.
    """

    def __init__(
        self, model: str, backend: str = "auto", device: Optional[str] = None, threads: int = 0
    ) -> None:
        self._fusion = RealtimeFusion(model, backend, device=device, threads=threads)
        self.description: Dict[str, Any] = {
            "file": str(model),
            **{k: v for k, v in self._fusion.describe().items() if _is_plain(v)},
        }

    def fuse(self, ir: Sequence[np.ndarray], vis: Sequence[np.ndarray]) -> List[np.ndarray]:
        """As `CheckpointFuser.fuse`, one pair after the other."""
        return [self._fusion.fuse_frame(a, b) for a, b in zip(ir, vis)]

    def close(self) -> None:
        """Free the engine."""
        self._fusion.close()


def open_fuser(
    model: str,
    variant: Optional[str] = None,
    backend: str = "auto",
    device: Optional[str] = None,
    threads: int = 0,
) -> Any:
    """The fuser of a checkpoint (.safetensors, .pth, .pt), an .onnx, or a shipped model's name."""
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
    """A luminance H x W with the colour of `vis` H x W x 3, as the student puts it back."""
    change = y.astype(np.int16) - vis_y
    return (vis + change[:, :, None]).clip(0, 255).astype(np.uint8)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, type(None)))
