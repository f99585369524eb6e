"""From a torch student to the formats of phones and small boards: ncnn, ExecuTorch, Core ML.

These runtimes take planes of floats, N x C x H x W, and one size. The values are grey levels,
0..255, as in the ONNX files; the last rounding to 8 bits is left to the caller.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import ConfigurationError, EngineError, expect_one_of
from irvis_fusion_core.network.student import (
    DARKEST,
    LARGEST_CHROMA,
    LUMA_WEIGHTS,
    MULTIPLE,
    Student,
)
from irvis_fusion_core.optional_packages import import_engine


class PlaneStudent(nn.Module):
    """A student between planes of floats.

    `size` is (height, width), a constant of the file. `forward(ir, vis)`: N x 1 x H x W and
    N x 3 x H x W in `vis_order`, 0..255 -> N x 3 x H x W,
    0..255, not rounded. Bounds are written as `clamp` with both ends, which every converter knows.
    """

    def __init__(self, student: Student, size: tuple[int, int], vis_order: str = "rgb") -> None:
        super().__init__()
        self.student, self.size = student, size
        weights = torch.tensor(LUMA_WEIGHTS if vis_order == "rgb" else LUMA_WEIGHTS[::-1])
        self.luma = nn.Conv2d(3, 1, 1, bias=False)
        self.luma.weight.data.copy_(weights.view(1, 3, 1, 1) / 255.0)

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        height, width = self.size
        y = self.luma(vis)
        right, bottom = -width % MULTIPLE, -height % MULTIPLE
        planes = [ir * (1.0 / 255.0), y]
        if right or bottom:
            planes = [F.pad(plane, (0, right, 0, bottom), mode="replicate") for plane in planes]
        change, chroma, _ = self.student.fuse_luminance(*planes)
        change, chroma = (plane[:, :, :height, :width] for plane in (change, chroma))
        fused = (y + change).clamp(0.0, 1.0)
        scale = chroma * (fused / y.clamp(DARKEST, 1.0)).clamp(0.0, LARGEST_CHROMA)
        return (fused * 255.0 + scale * (vis - y * 255.0)).clamp(0.0, 255.0)


def export_mobile(
    model: Student,
    output: str | Path,
    file_format: str,
    size: tuple[int, int],
    precision: str = "fp32",
    vis_order: str = "rgb",
) -> list[Path]:
    """Write a student of one size for a mobile runtime; return the files.

    Args:
        output: a .param file for ncnn (its .bin is written next to it), .pte for executorch,
            .mlpackage for coreml.
        file_format: one of `FORMATS`.
        size: (height, width).
        precision: fp32, or fp16 (weights of ncnn, arithmetic of Core ML).

    Raises:
        ConfigurationError: an impossible option.
        EngineUnavailableError: the converter's package is missing.
        EngineError: the converter failed.
    """
    expect_one_of("format", file_format, FORMATS)
    convert, suffix, precisions = FORMATS[file_format]
    output = Path(output)
    if output.suffix != suffix:
        raise ConfigurationError(
            f"expected a name that ends in {suffix} for {file_format}, found {output}"
        )
    if precision not in precisions:
        raise ConfigurationError(
            f"expected precision {' or '.join(precisions)} for {file_format}, found "
            f"{precision!r}; int8 is made from ONNX files, see docs/int8.md"
        )
    planes = PlaneStudent(model, size, vis_order).eval()
    examples = tuple(torch.zeros(1, channels, *size) for channels in (1, 3))
    output.parent.mkdir(parents=True, exist_ok=True)
    # Converters write several files, or into the current folder: whole results are moved here.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export_") as folder:
        with torch.no_grad():
            made = convert(planes, examples, Path(folder) / output.name, precision)
        return [_move(path, output.parent / path.name) for path in made]


def _move(source: Path, target: Path) -> Path:
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)
    return target


def _to_ncnn(
    planes: nn.Module, examples: tuple[torch.Tensor, ...], path: Path, precision: str
) -> list[Path]:
    pnnx = import_engine("pnnx")
    traced = path.with_name("traced.pt")
    torch.jit.trace(planes, examples).save(str(traced))
    shapes = ",".join(str(list(example.shape)).replace(" ", "") for example in examples)
    command = [pnnx.EXEC_PATH, str(traced), f"inputshape={shapes}"]
    command.append(f"fp16={int(precision == 'fp16')}")
    ended = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    made = [path.with_name("traced.ncnn" + suffix) for suffix in (".param", ".bin")]
    unknown = [line for line in ended.stderr.splitlines() if line.startswith("ignore ")]
    if ended.returncode or unknown or not all(file.is_file() for file in made):
        told = "; ".join(unknown) or ended.stderr.strip()[-500:]
        raise EngineError(
            f"expected pnnx to convert the student, found status {ended.returncode}: {told}; "
            "try another release of pnnx"
        )
    return [file.rename(path.with_suffix(file.suffix)) for file in made]


def _to_executorch(
    planes: nn.Module, examples: tuple[torch.Tensor, ...], path: Path, _: str
) -> list[Path]:
    import_engine("executorch")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(planes, examples)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    return [path]


def _to_coreml(
    planes: nn.Module, examples: tuple[torch.Tensor, ...], path: Path, precision: str
) -> list[Path]:
    tools = import_engine("coremltools")
    kind = tools.precision.FLOAT16 if precision == "fp16" else tools.precision.FLOAT32
    names = zip(("ir", "vis"), examples)
    converted = tools.convert(
        torch.jit.trace(planes, examples),
        inputs=[tools.TensorType(name, example.shape) for name, example in names],
        outputs=[tools.TensorType("fused")],
        convert_to="mlprogram",
        compute_precision=kind,
        minimum_deployment_target=tools.target.iOS16,
    )
    converted.save(str(path))
    return [path]


if TYPE_CHECKING:  # Python 3.8 does not evaluate it
    _Converter = Callable[[nn.Module, tuple[torch.Tensor, ...], Path, str], list[Path]]
FORMATS: dict[str, tuple[_Converter, str, tuple[str, ...]]] = {
    "ncnn": (_to_ncnn, ".param", ("fp32", "fp16")),
    "executorch": (_to_executorch, ".pte", ("fp32",)),
    "coreml": (_to_coreml, ".mlpackage", ("fp32", "fp16")),
}
"""Format -> its converter, the ending of its file, its precisions."""
