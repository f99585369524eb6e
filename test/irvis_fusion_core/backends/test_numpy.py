"""The engine without an engine: it runs every model that ships, as ONNX Runtime does."""

import numpy as np
import pytest

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends import BackendOptions, open_backend
from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.errors import EngineError

FILES = [(v, p) for v in model_zoo.list_models() for p in model_zoo.precisions(v)]


@pytest.mark.parametrize("variant, precision", FILES)
def test_every_shipped_file_runs_and_agrees(variant, precision):
    pytest.importorskip("onnxruntime", reason="the reference")
    ir, vis = example_pair(75, 98)  # no multiple of 16
    ir, fused = ir.reshape(75, 98, 1), {}
    for name in ("numpy", "onnxruntime"):
        path = model_zoo.path(variant, precision)
        with open_backend(name, path, BackendOptions(threads=1, device="cpu")) as engine:
            fused[name] = engine.fuse(ir, vis).astype(int)
    difference = np.abs(fused["numpy"] - fused["onnxruntime"])
    # int8: a value at half a step may be rounded either way, in each of many layers.
    assert difference.max() <= (6 if precision == "int8" else 1)
    assert difference.mean() < (0.5 if precision == "int8" else 0.001)


def make_graph(onnx, nodes, tmp_path):
    """Write a model of ours from `vis` to `fused` with `nodes` in between."""
    helper, kinds = onnx.helper, onnx.TensorProto
    cast = [
        helper.make_node("Cast", ["vis"], ["x0"], to=kinds.FLOAT),
        helper.make_node("Transpose", ["x0"], ["x"], perm=[0, 3, 1, 2]),
        *nodes,
        helper.make_node("Transpose", ["y"], ["y0"], perm=[0, 2, 3, 1]),
        helper.make_node("Round", ["y0"], ["y1"]),
        helper.make_node("Cast", ["y1"], ["fused"], to=kinds.UINT8),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        cast,
        "g",
        [
            info("ir", kinds.UINT8, [1, "height", "width", 1]),
            info("vis", kinds.UINT8, [1, "height", "width", 3]),
        ],
        [info("fused", kinds.UINT8, [1, "height", "width", 3])],
        [
            onnx.numpy_helper.from_array(np.array(value, dtype), name)
            for name, value, dtype in (
                ("double", [1, 1, 2, 2], np.float32),
                ("weights", np.full((3, 1, 3, 3), 0.1), np.float32),
                ("parts", [1, 2], np.int64),
                ("dense", np.linspace(0, 0.03, 81).reshape(3, 3, 3, 3), np.float32),
            )
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entries = {"format": "1", "variant": "x", "precision": "fp32", "vis_order": "rgb"}
    for key, value in entries.items():
        model.metadata_props.add(key="irvis_fusion." + key, value=value)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


@pytest.mark.parametrize(
    "steps",
    [
        [("Conv", ["x", "weights"], {"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]})],
        [("Conv", ["x", "dense"], {"strides": [2, 2], "pads": [1, 1, 1, 1]})],
        [
            ("Split", ["x", "parts"], {"axis": 1}),
            ("Concat", ["b", "a"], {"axis": 1}),
            ("Conv", ["c", "dense"], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ],
        [("AveragePool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]})],
        [
            (
                "AveragePool",
                ["x"],
                {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            )
        ],
    ],
    ids=["depthwise", "dense", "split", "pool", "padded pool"],
)
def test_operators_that_a_model_may_use(steps, tmp_path):
    """Down to half the size and back, against ONNX Runtime."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime", reason="the reference")
    outputs = {"Split": ["a", "b"], "Concat": ["c"]}
    nodes = [
        onnx.helper.make_node(op, inputs, outputs.get(op, ["small"]), **at)
        for op, inputs, at in steps
    ]
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes.append(onnx.helper.make_node("Resize", ["small", "", "double"], ["y"], **how))
    path = make_graph(onnx, nodes, tmp_path)
    ir, vis = example_pair(32, 48)
    fused = [
        open_backend(name, path, BackendOptions(threads=1)).fuse(ir.reshape(32, 48, 1), vis)
        for name in ("numpy", "onnxruntime")
    ]
    np.testing.assert_allclose(*np.asarray(fused, int), atol=1)


def test_an_operator_that_it_lacks_is_named(tmp_path):
    onnx = pytest.importorskip("onnx")
    nodes = [onnx.helper.make_node("Erf", ["x"], ["y"])]
    with pytest.raises(EngineError, match="found Erf; install onnxruntime"):
        open_backend("numpy", make_graph(onnx, nodes, tmp_path))
