"""A trained detector of RGB images, read from an ONNX file, that gradients pass through.

YOLOX with its raw grid and NanoDet with six outputs are read; `irvis_fusion_core.detectors` has
their layouts for NumPy, the reference of the tests.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from irvis_fusion_core.detectors.labels import COCO
from irvis_fusion_core.detectors.layouts import Facts, NanoDet, Yolox, choose_layout, grid
from irvis_fusion_core.detectors.network_file import refuse_other_folders
from irvis_fusion_core.errors import ModelError
from irvis_fusion_core.optional_packages import pip_advice
from training.errors import TrainingError

CLASSES = ("person", "bicycle", "car", "bus", "truck")
"""The classes of COCO that the loss looks at: columns of `Found.scores`."""
STRIDES = (8, 16, 32)
_GREY = 114.0  # of a plain image, from whose outputs the layout is told


class Found(NamedTuple):
    """Outputs for one image, by anchor."""

    places: torch.Tensor  # A x 4, as the network gives them; NanoDet's as mean distances
    scores: torch.Tensor  # A x `CLASSES`, 0..1


class FrozenDetector(nn.Module):
    """The network of a file.

    Attributes:
        path: Of the file.
        size: Side of the square input, pixels.
        bars: Grey level of what no image covers.
        cells, strides: A x 2 and A x 1, column and row of each anchor, and its stride in pixels.

    Raises:
        ModelError: no such file, or another layout or input.
        TrainingError: onnx2torch is missing, or cannot convert the file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        model, self.size = _read(self.path)
        try:
            self.network = _converter()(model).eval().requires_grad_(False)
        except NotImplementedError as error:
            raise TrainingError(
                f"expected operators that onnx2torch converts in {path}, found: {error}; give "
                "another detector"
            ) from error
        facts = Facts(self.size, self.size, len(COCO))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*non-tuple sequence")  # of onnx2torch
            outputs = self._run(torch.full((1, 3, self.size, self.size), _GREY))
        layout = choose_layout([each.numpy() for each in outputs], facts)
        self._yolox = isinstance(layout, Yolox)
        raw = self._yolox and bool(outputs[0][..., :2].abs().mean() < 16.0)
        if not raw and (type(layout) is not NanoDet or len(outputs) != 2 * len(STRIDES)):
            raise ModelError(
                "expected YOLOX with a raw grid or NanoDet with six outputs in "
                f"{path}, found {layout.description}; export one of these"
            )
        prepared = layout.preparation
        self.bars = float(prepared.bars)
        self.register_buffer("mean", torch.tensor(prepared.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(prepared.std).view(1, 3, 1, 1))
        cells, strides = (torch.from_numpy(each).float() for each in grid(facts, STRIDES))
        self.register_buffer("cells", cells)
        self.register_buffer("strides", strides)
        self.register_buffer("classes", torch.tensor([COCO.index(name) for name in CLASSES]))

    def forward(self, image: torch.Tensor) -> Found:
        """Return what is found in RGB grey levels, 1 x 3 x `size` x `size`."""
        outputs = self._run((image.flip(1) - self.mean) / self.std)
        if self._yolox:
            table = outputs[0][0]
            return Found(table[:, :4], table[:, 4:5] * table[:, 5:][:, self.classes])
        tables = sorted((o.reshape(o.shape[-2:]) for o in outputs), key=lambda o: -len(o))
        sides = 4 * NanoDet.bins
        scores = torch.cat([table for table in tables if table.shape[1] != sides])
        bins = torch.cat([table for table in tables if table.shape[1] == sides])
        shares = bins.reshape(-1, 4, NanoDet.bins).softmax(-1)
        steps = torch.arange(NanoDet.bins, device=shares.device, dtype=shares.dtype)
        return Found((shares * steps).sum(-1), scores[:, self.classes])

    @property
    def centres(self) -> torch.Tensor:
        """Centres of the anchors' cells, A x 2, x and y in pixels of the input."""
        return (self.cells + 0.5) * self.strides

    def _run(self, image: torch.Tensor) -> list[torch.Tensor]:
        outputs = self.network(image)
        return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def _read(path: Path) -> tuple[Any, int]:
    """Return the ONNX model, and the side of its square input."""
    import onnx

    refuse_other_folders(str(path))
    try:
        model = onnx.load(str(path))
    except Exception as error:  # OSError, protobuf's and ONNX's own kinds
        raise ModelError(f"expected an ONNX file at {path}, found: {error}") from error
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    if len(shape) != 4 or shape[:2] != [1, 3] or shape[2] != shape[3] or not shape[2]:
        raise ModelError(
            f"expected one square input [1, 3, side, side] in {path}, found {shape}; export the "
            "detector with a fixed size"
        )
    if shape[2] % STRIDES[-1]:
        raise ModelError(f"expected a side that {STRIDES[-1]} divides in {path}, found {shape[2]}")
    return model, int(shape[2])


def _converter() -> Callable[[Any], nn.Module]:
    """Return `onnx2torch.convert`.

    It imports torchvision for two operators that these detectors do not have. Where torchvision is
    missing an empty module takes its place during the import.
    """
    names = ("torchvision", "torchvision.ops")
    stand_ins = {}
    if importlib.util.find_spec(names[0]) is None:
        stand_ins = {name: types.ModuleType(name) for name in names}
        stand_ins[names[0]].ops = stand_ins[names[1]]  # type: ignore[attr-defined]
        stand_ins[names[1]].nms = stand_ins[names[1]].roi_align = None  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        from onnx2torch import convert
    except ImportError as error:
        raise TrainingError(
            f"--detector needs onnx2torch ({error}); install it: "
            f"{pip_advice('--no-deps onnx2torch')}"
        ) from error
    finally:
        for name in stand_ins:
            del sys.modules[name]
    return convert
