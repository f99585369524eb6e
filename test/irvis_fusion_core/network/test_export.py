"""ONNX files: every engine and the torch student give the same pixels."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from irvis_fusion_core.errors import (
    CalibrationError,
    ConfigurationError,
    ModelError,
)
from irvis_fusion_core.network.export import FP32_LAYERS, export_to_onnx, quantize
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import create_student_model


def photograph(seed, height=96, width=128):
    """Smooth structure with edges, as calibration expects: ir H x W x 1, vis H x W x 3."""
    import cv2

    rng = np.random.default_rng(seed)
    vis = cv2.resize(rng.uniform(20, 230, (6, 8, 3)).astype(np.float32), (width, height))
    ir = cv2.resize(rng.uniform(20, 230, (5, 6)).astype(np.float32), (width, height))
    cv2.rectangle(ir, (20, 20), (50, 70), 250, -1)
    return ir.round().clip(0, 255).astype(np.uint8)[:, :, None], vis.round().clip(0, 255).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    model = create_student_model("nano").eval()
    torch.nn.init.normal_(model.controls.weight, std=0.05)
    return model


@pytest.fixture(scope="module")
def exported(student, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    pairs = [photograph(seed) for seed in range(8)]
    return {
        p: export_to_onnx(student, folder / f"{p}.onnx", precision=p, calibration_pairs=pairs)
        for p in ("fp32", "fp16", "int8")
    }


def run(path, ir, vis):
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"ir": ir[None], "vis": vis[None]})[0][0].astype(int)


def torch_pixels(student, ir, vis, order="rgb"):
    with torch.no_grad():
        return (
            PixelStudent(student, order)(torch.from_numpy(ir)[None], torch.from_numpy(vis)[None])[
                0
            ]
            .numpy()
            .astype(int)
        )


@pytest.mark.parametrize(
    "precision, worst, mean", [("fp32", 1, 0.01), ("fp16", 2, 0.05), ("int8", 40, 2.0)]
)
@pytest.mark.parametrize("size", [(96, 128), (61, 83)])
def test_parity_with_torch(student, exported, precision, worst, mean, size):
    ir, vis = photograph(100, *size)
    difference = np.abs(run(exported[precision], ir, vis) - torch_pixels(student, ir, vis))
    assert difference.max() <= worst
    assert difference.mean() <= mean


@pytest.mark.parametrize("input_size", [(96, 128), (1, 3, 61, 83)])
def test_fixed_size(student, tmp_path, input_size):
    path = export_to_onnx(student, tmp_path / "m.onnx", input_size, vis_order="bgr")
    graph = onnx.load(str(path)).graph
    dims = [d.dim_value for d in graph.input[1].type.tensor_type.shape.dim]
    assert dims == [1, *input_size[-2:], 3]
    ir, vis = photograph(5, *input_size[-2:])
    difference = np.abs(run(path, ir, vis) - torch_pixels(student, ir, vis, "bgr"))
    assert difference.max() <= 1


def test_interface_and_metadata(exported):
    for precision, path in exported.items():
        model = onnx.load(str(path))
        uint8 = onnx.TensorProto.UINT8
        tensors = [*model.graph.input, *model.graph.output]
        assert [t.name for t in tensors] == ["ir", "vis", "fused"]
        assert all(t.type.tensor_type.elem_type == uint8 for t in tensors)
        shapes = [
            [d.dim_param or d.dim_value for d in t.type.tensor_type.shape.dim] for t in tensors
        ]
        assert shapes == [[1, "height", "width", channels] for channels in (1, 3, 3)]
        assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [17]
        assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
        metadata = {e.key: e.value for e in model.metadata_props}
        assert metadata["irvis_fusion.precision"] == precision
        assert metadata["irvis_fusion.variant"] == "nano"
        assert metadata["irvis_fusion.vis_order"] == "rgb"


def test_precision_is_in_the_file(exported):
    half = onnx.load(str(exported["fp16"])).graph
    kinds = {i.data_type for i in half.initializer if len(i.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    quantized = onnx.load(str(exported["int8"])).graph
    zero_points = [
        onnx.numpy_helper.to_array(i)
        for i in quantized.initializer
        if i.name.endswith("zero_point")
    ]
    assert zero_points and all((z == 0).all() for z in zero_points)


def test_int8_leaves_what_makes_the_image_in_fp32(exported):
    """The heads and the local means: neither pixels nor weights of theirs pass Q/DQ."""
    graph = onnx.load(str(exported["int8"])).graph
    made_by = {output: node for node in graph.node for output in node.output}
    names = {node.name for node in graph.node if node.op_type == "Conv"}
    kept = names & set(FP32_LAYERS)
    assert len(kept) == len(FP32_LAYERS)
    for node in graph.node:
        if node.op_type == "Conv":
            passed = [made_by[n].op_type for n in node.input[:2] if n in made_by]
            assert ("DequantizeLinear" in passed) == (node.name not in kept), node.name


def test_no_image_no_int8(student, tmp_path):
    with pytest.raises(CalibrationError, match="at least 8 real pairs"):
        export_to_onnx(student, tmp_path / "m.onnx", precision="int8")
    noise = [
        (
            np.random.default_rng(i).integers(0, 256, (64, 64, 1), dtype=np.uint8),
            photograph(i, 64, 64)[1],
        )
        for i in range(8)
    ]
    with pytest.raises(CalibrationError, match="noise"):
        export_to_onnx(student, tmp_path / "m.onnx", precision="int8", calibration_pairs=noise)
    flat = [(np.full((64, 64, 1), 7, np.uint8), photograph(i, 64, 64)[1]) for i in range(8)]
    with pytest.raises(CalibrationError, match="constant"):
        export_to_onnx(student, tmp_path / "m.onnx", precision="int8", calibration_pairs=flat)
    assert not list(tmp_path.iterdir())


def test_quantize_says_what_it_costs(exported, tmp_path):
    said = []
    quantize(exported["fp32"], tmp_path / "q.onnx", [photograph(i) for i in range(8)], said.append)
    assert "PSNR" in said[0] and "SSIM" in said[0]
    with pytest.raises(ModelError, match="fp32"):
        quantize(exported["int8"], tmp_path / "r.onnx", [photograph(i) for i in range(8)])


@pytest.mark.parametrize(
    "options",
    [{"opset_version": 11}, {"precision": "fp8"}, {"input_size": (3, 4, 5)}, {"vis_order": "xyz"}],
)
def test_options_that_cannot_be_had(student, tmp_path, options):
    with pytest.raises(ConfigurationError, match="expected"):
        export_to_onnx(student, tmp_path / "m.onnx", **options)
