"""From a torch student to ONNX files: fp32, fp16 and int8, pixels in and pixels out.

The file holds the precision, not the engine's flags (TensorRT 11 requires that): fp16 is typed,
int8 is Q/DQ from real images. The last mix is always fp32.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Tuple

import numpy as np
import torch

from irvis_fusion_core.atomic_file import replacing
from irvis_fusion_core.errors import (
    CalibrationError,
    ConfigurationError,
    ModelError,
    expect_one_of,
)
from irvis_fusion_core.network.checkpoint import METADATA_PREFIX
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import Student
from irvis_fusion_core.optional_packages import import_engine

OPSET = 17  # `PixelStudent` needs it, TensorRT 8.5 reads nothing newer
# IR uint8 H x W x 1 and visible uint8 H x W x 3, in the model's channel order.
FramePair = Tuple[np.ndarray, np.ndarray]
# Layers that stay fp32 in int8 files: these, and those that reorder or interpolate pixels.
FP32_LAYERS = ("/Conv", "/Conv_1", "/enlarge/Conv", *(f"/enlarge_{n}/Conv" for n in range(1, 6)))
FP32_LAYERS += tuple(
    f"/{layer}/Conv"
    for layer in (
        # Layers that read pixels: 127 steps for the whole range would lose faint edges.
        "ir_encoder/stem/stem.0",
        "vis_encoder/stem/stem.0",
        "head_mix/head_mix.0",
        # Layers that make the image, in steps of a grey level, and their inputs.
        "decoder/refine1/refine1.0/expand/expand.0",
        "decoder/refine1/refine1.0/depthwise/depthwise.0",
        "decoder/refine1/refine1.0/project/project.0",
        "head_depthwise/head_depthwise.0",
        "controls",
    )
)


def export_to_onnx(
    model: Student,
    output_path: str | Path,
    input_size: Sequence[int] | None = None,
    opset_version: int = OPSET,
    precision: str = "fp32",
    vis_order: str = "rgb",
    calibration_pairs: Iterable[FramePair] | None = None,
) -> Path:
    """Write `ir`, `vis` -> `fused` (uint8, N H W C) as one ONNX file, checked and atomic.

    Args:
        input_size: None for any size, (height, width), or (1, channels, height, width).
        precision: `fp32`, `fp16`, or `int8` (needs `calibration_pairs`).
        vis_order: `rgb` or `bgr`: the order of `vis` and `fused`.

    Raises:
        ConfigurationError: an impossible option.
        EngineUnavailableError: the `onnx` package is missing.
    """
    onnx = import_engine("onnx")
    if opset_version != OPSET:
        raise ConfigurationError(
            f"expected opset {OPSET}, found {opset_version}: older ones lack operators that the "
            "student uses, TensorRT 8.5 reads none newer"
        )
    expect_one_of("precision", precision, ("fp32", "fp16", "int8"))
    output_path = Path(output_path)
    if precision == "int8":
        with tempfile.TemporaryDirectory() as folder:
            plain = export_to_onnx(
                model, Path(folder) / "fp32.onnx", input_size, opset_version, "fp32", vis_order
            )
            return quantize(plain, output_path, calibration_pairs or ())
    size = _height_and_width(input_size)
    training = model.training
    pixels = PixelStudent(_copy_in(model, precision), vis_order, size).eval()
    # A free size is traced at one that needs padding, so that the padding is not folded away.
    height, width = size or (70, 90)
    example = tuple(torch.zeros(1, height, width, c, dtype=torch.uint8) for c in (1, 3))
    axes = None if size else {name: {1: "height", 2: "width"} for name in ("ir", "vis", "fused")}
    graph = trace(onnx, pixels, example, "fused", axes)
    model.train(training)
    _name_output_shape(graph, size)
    facts = {"format": "1", "variant": model.variant, "precision": precision}
    describe_graph(graph, {**facts, "vis_order": vis_order})
    write_checked(onnx, graph, output_path)
    return output_path


def trace(
    onnx: ModuleType,
    network: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    output: str,
    axes: dict[str, dict[int, str]] | None,
) -> Any:
    """Return the ONNX graph of a network of `ir` and `vis`.

    Args:
        axes: Tensor -> its axes of any size, and their names.
    """
    traced = io.BytesIO()
    with warnings.catch_warnings():
        # Only the tracing exporter (dynamo=False) writes opset 17.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            example,
            traced,
            opset_version=OPSET,
            dynamo=False,
            input_names=["ir", "vis"],
            output_names=[output],
            dynamic_axes=axes,
        )
    return onnx.load_from_string(traced.getvalue())


def quantize(
    onnx_path: str | Path,
    output_path: str | Path,
    calibration_pairs: Iterable[FramePair],
    report: Callable[[str], None] | None = None,
) -> Path:
    """Quantise an exported fp32 file to int8 as Q/DQ, with scales from real images.

    Args:
        calibration_pairs: at least 8 pairs of the cameras to be used; up to 64 are used, cropped
            to 480 x 640. A fixed-size model needs pairs of its size.
        report: called with a line on the loss against fp32, in PSNR and SSIM.

    Raises:
        CalibrationError: too few pairs, constant images, or pure noise.
    """
    onnx = import_engine("onnx")
    quantization = import_engine("onnxruntime.quantization")
    pairs = _calibration_set(calibration_pairs)
    output_path = Path(output_path)
    graph = onnx.load(str(onnx_path))
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    if metadata.get(METADATA_PREFIX + "precision") != "fp32":
        raise ModelError(
            f"expected an exported fp32 model to quantise, {onnx_path} says "
            f"{metadata.get(METADATA_PREFIX + 'precision')!r}; export it again"
        )

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.rest = iter(pairs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            pair = next(self.rest, None)
            return None if pair is None else {"ir": pair[0][None], "vis": pair[1][None]}

    exclude = [node.name for node in graph.graph.node if node.name in FP32_LAYERS]
    with tempfile.TemporaryDirectory() as folder:
        part = os.path.join(folder, "int8.onnx")
        quantization.quantize_static(
            str(onnx_path),
            part,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=exclude,
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            # TensorRT reads zero points of zero only, and no quantised bias.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "CalibTensorRangeSymmetric": True,
            },
        )
        graph = onnx.load(part)
    describe_graph(graph, {"precision": "int8", "calibration_pairs": str(len(pairs))}, metadata)
    write_checked(onnx, graph, output_path)
    if report is not None:
        report(quantization_cost(onnx_path, output_path, pairs))
    return output_path


def quantization_cost(
    reference_path: str | Path, path: str | Path, pairs: Sequence[FramePair]
) -> str:
    """Return a line with PSNR (mean, worst) and SSIM of one file's images against another's."""
    from irvis_fusion_core.metrics.fidelity import ssim_mean

    runtime = import_engine("onnxruntime")
    sessions = [
        runtime.InferenceSession(str(p), providers=["CPUExecutionProvider"])
        for p in (reference_path, path)
    ]
    psnr, similarity = [], []
    for ir, vis in pairs:
        inputs = {"ir": ir[None], "vis": vis[None]}
        a, b = (s.run(None, inputs)[0][0].astype(np.float64).mean(2) for s in sessions)
        psnr.append(10.0 * np.log10(255.0**2 / max(float(((a - b) ** 2).mean()), 1e-4)))
        similarity.append(ssim_mean(a, b, b, data_range=255.0))
    return (
        f"{Path(path).name} against {Path(reference_path).name} on {len(pairs)} pairs: PSNR "
        f"mean {np.mean(psnr):.1f} dB, worst {np.min(psnr):.1f} dB, SSIM "
        f"{np.mean(similarity):.4f}"
    )


def _copy_in(model: Student, precision: str) -> Student:
    copied = Student(model.size, model.in_channels, model.out_channels)
    copied.load_state_dict(model.state_dict())
    copied.eval()
    return copied.half() if precision == "fp16" else copied


def _height_and_width(input_size: Sequence[int] | None) -> tuple[int, int] | None:
    if input_size is None:
        return None
    size = tuple(int(n) for n in input_size)
    if len(size) == 4 and size[0] == 1:
        size = size[2:]
    if len(size) != 2 or min(size) < 1:
        raise ConfigurationError(
            "expected input_size as None, (height, width) or (1, channels, height, width), found "
            f"{tuple(input_size)}"
        )
    return size[0], size[1]


def _calibration_set(pairs: Iterable[FramePair]) -> list[FramePair]:
    kept: list[FramePair] = []
    for ir, vis in pairs:
        if ir.ndim == 2:
            ir = ir[:, :, None]
        kept.append((np.ascontiguousarray(ir[:480, :640]), np.ascontiguousarray(vis[:480, :640])))
        if len(kept) == 64:
            break
    if len(kept) < 8:
        raise CalibrationError(
            f"expected at least 8 real pairs to calibrate int8, found {len(kept)}; pass a folder "
            "with IR/ and VIS/ of your cameras"
        )
    for index, pair in enumerate(kept):
        for name, image in zip(("ir", "vis"), pair):
            plane = image[:, :, 0].astype(np.float64)
            step = np.abs(np.diff(plane, axis=1)).mean()
            # Neighbouring pixels of a photograph are similar, those of noise are not.
            if plane.std() < 1.0 or step > plane.std():
                what = "constant" if plane.std() < 1.0 else "noise"
                raise CalibrationError(
                    f"expected real images, calibration pair {index}'s {name} is {what}; scales "
                    "drawn from it would be wrong"
                )
    return kept


def _name_output_shape(graph: Any, size: tuple[int, int] | None) -> None:
    """Name the output's dimensions as the inputs'; the tracer uses its nodes' names."""
    shape = graph.graph.output[0].type.tensor_type.shape
    for dim, value in zip(shape.dim, (1, *(size or ("height", "width")), 3)):
        dim.Clear()
        setattr(dim, "dim_param" if isinstance(value, str) else "dim_value", value)


def describe_graph(
    graph: Any, metadata: dict[str, str], old: dict[str, str] | None = None
) -> None:
    """Set our metadata, on top of what the graph and `old` have."""
    kept = {entry.key: entry.value for entry in graph.metadata_props}
    kept.update({k: v for k, v in (old or {}).items() if k.startswith(METADATA_PREFIX)})
    kept.update({METADATA_PREFIX + key: value for key, value in metadata.items()})
    del graph.metadata_props[:]
    for key, value in sorted(kept.items()):
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value


def write_checked(onnx: ModuleType, graph: Any, output_path: Path) -> None:
    onnx.checker.check_model(graph, full_check=True)
    with replacing(output_path) as part:
        onnx.save(graph, str(part))
