"""Files for ncnn, ExecuTorch and Core ML against the ONNX file of the same student."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting needs torch: pip install '.[dev]'")

from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.commands import export
from irvis_fusion_core.errors import ConfigurationError, EngineError
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.network import mobile_export
from irvis_fusion_core.network.checkpoint import load_checkpoint
from irvis_fusion_core.network.mobile_export import PlaneStudent, export_mobile

SIZE = (50, 72)  # the height needs padding
GREY_LEVELS = 2


@pytest.fixture(scope="module")
def student():
    """The shipped nano: fresh weights would hide what a converter does to the controls."""
    from irvis_fusion_core import model_zoo

    return load_checkpoint(model_zoo.weights_path("nano")).eval()


def planes_of(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


@pytest.fixture(scope="module")
def pair():
    ir, vis = example_pair(*SIZE)
    noise = np.random.default_rng(0).integers(-20, 21, ir.shape)
    return np.clip(ir + noise, 0, 255).astype(np.uint8), vis


@pytest.fixture(scope="module")
def expected(pair):
    """The image of the shipped ONNX file."""
    pytest.importorskip("onnxruntime", reason="the reference of these tests")
    with RealtimeFusion("nano", "onnxruntime", thermal=None, threads=1) as fusion:
        return fusion.fuse_frame(*pair).astype(int)


def assert_same_image(planes, expected):
    image = np.rint(planes).astype(int).transpose(1, 2, 0)
    assert np.abs(image - expected).max() <= GREY_LEVELS


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_planes_of_floats_give_the_image_of_the_onnx_file(student, pair, expected, order):
    ir, vis = pair
    turned = vis if order == "rgb" else vis[..., ::-1]
    with torch.no_grad():
        inputs = (torch.from_numpy(planes_of(x))[None] for x in (ir, turned))
        fused = PlaneStudent(student, SIZE, order)(*inputs)[0].numpy()
    assert_same_image(fused if order == "rgb" else fused[::-1], expected)


# In a process of its own: the OpenMP of ncnn and that of torch do not go together in one.
RUN_NCNN = """
import sys
import ncnn, numpy
param, weights, inputs, output = sys.argv[1:]
net = ncnn.Net()
net.opt.num_threads = 1
assert net.load_param(param) == 0 and net.load_model(weights) == 0
frames = dict(numpy.load(inputs))  # a Mat does not keep the array that it looks into
extractor = net.create_extractor()
for name, key in (("in0", "ir"), ("in1", "vis")):
    assert extractor.input(name, ncnn.Mat(frames[key]).clone()) == 0
status, fused = extractor.extract("out0")
assert status == 0
numpy.save(output, numpy.array(fused))
"""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_ncnn(student, pair, expected, tmp_path, precision):
    for package in ("ncnn", "pnnx"):
        pytest.importorskip(package, reason="pip install '.[mobile]'")
    files = export_mobile(student, tmp_path / "nano.param", "ncnn", SIZE, precision)
    assert files == [tmp_path / "nano.param", tmp_path / "nano.bin"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nano.bin", "nano.param"]
    inputs, output = tmp_path / "pair.npz", tmp_path / "fused.npy"
    np.savez(inputs, ir=planes_of(pair[0]), vis=planes_of(pair[1]))
    arguments = [*map(str, files), str(inputs), str(output)]
    subprocess.run([sys.executable, "-c", RUN_NCNN, *arguments], check=True)
    assert_same_image(np.load(output), expected)


@pytest.mark.slow
def test_executorch(student, pair, expected, tmp_path):
    pytest.importorskip("executorch", reason="pip install '.[mobile]'")
    from executorch.runtime import Runtime

    (path,) = export_mobile(student, tmp_path / "nano.pte", "executorch", SIZE)
    method = Runtime.get().load_program(str(path)).load_method("forward")
    inputs = [torch.from_numpy(planes_of(image))[None] for image in pair]
    assert_same_image(method.execute(inputs)[0][0].numpy(), expected)


@pytest.mark.slow
def test_coreml_has_the_inputs_and_the_output_that_the_page_names(student, tmp_path):
    """Core ML runs on Apple's systems alone: here the file is read, not run."""
    tools = pytest.importorskip("coremltools", reason="pip install '.[mobile]'")
    for _ in range(2):  # the second replaces the first
        (path,) = export_mobile(student, tmp_path / "nano.mlpackage", "coreml", SIZE, "fp16")
    description = tools.models.MLModel(str(path), skip_model_load=True).get_spec().description
    shapes = {port.name: list(port.type.multiArrayType.shape) for port in description.input}
    assert shapes == {"ir": [1, 1, *SIZE], "vis": [1, 3, *SIZE]}
    assert [port.name for port in description.output] == ["fused"]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"file_format": "tflite"}, "one of ncnn, executorch, coreml, found 'tflite'"),
        ({"output": "nano.onnx"}, "ends in .param for ncnn, found"),
        ({"precision": "int8"}, "fp32 or fp16 for ncnn, found 'int8'; .*docs/int8.md"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_written(
    student, tmp_path, change, told
):
    options = {"output": "nano.param", "file_format": "ncnn", "precision": "fp32", **change}
    options["output"] = tmp_path / options["output"]
    with pytest.raises(ConfigurationError, match=told):
        export_mobile(student, size=SIZE, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_pnnx_leaves_out_is_an_error_and_leaves_no_file(
    student, tmp_path, monkeypatch
):
    pytest.importorskip("pnnx", reason="pip install '.[mobile]'")
    run = subprocess.run

    def with_unknown(*arguments, **options):
        ended = run(*arguments, **options)
        ended.stderr += "\nignore pnnx.Expression pnnx_expr_1 param expr=1\n"
        return ended

    monkeypatch.setattr(mobile_export.subprocess, "run", with_unknown)
    with pytest.raises(EngineError, match="pnnx.Expression"):
        export_mobile(student, tmp_path / "nano.param", "ncnn", SIZE)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_files_and_asks_for_a_size(tmp_path, capsys):
    pytest.importorskip("pnnx", reason="pip install '.[mobile]'")
    arguments = ["--variant", "nano", "--format", "ncnn", "--output", str(tmp_path / "n.param")]
    assert export.main([*arguments, "--size", "72x50"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"n{e}") for e in (".param", ".bin")]
    with pytest.raises(SystemExit):
        export.main(arguments)
    assert "needs --size" in capsys.readouterr().err
