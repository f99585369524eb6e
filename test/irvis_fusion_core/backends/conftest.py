"""A small fusion network with the inputs, output and metadata of ours, and its second
implementation in numpy: fused = vis + blur(ir - luminance), a 3x3 box blur with zeros outside.
"""

import cv2
import numpy as np
import pytest

LUMA_RGB = np.array([0.299, 0.587, 0.114], np.float32)


def numpy_fuse(ir, vis, vis_order="rgb"):
    """The network of `write_model` in float64."""
    luma = LUMA_RGB if vis_order == "rgb" else LUMA_RGB[::-1]
    difference = ir[..., 0].astype(np.float64) - vis.astype(np.float64) @ luma.astype(np.float64)
    change = cv2.blur(difference, (3, 3), borderType=cv2.BORDER_CONSTANT)
    return np.clip(np.rint(vis + change[..., np.newaxis]), 0, 255).astype(np.uint8)


def build_graph(precision, vis_order, size, names, dtype):
    onnx = pytest.importorskip("onnx", reason="onnx writes the models that these tests run")
    from onnx import TensorProto, helper, numpy_helper

    height, width = size
    ir, vis, fused = names
    luma = LUMA_RGB if vis_order == "rgb" else LUMA_RGB[::-1]
    inner = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    inner_numpy = np.float16 if precision == "fp16" else np.float32
    constants = {
        "luma": (luma.reshape(3, 1) / 255).astype(np.float32),
        "inverse": np.float32(1 / 255),
        "full": np.float32(255),
        "low": np.float32(0),
        "high": np.float32(255),
        "box": np.full((1, 1, 3, 3), 1 / 9, inner_numpy),
    }
    node = helper.make_node
    nodes = [
        node("Cast", [ir], ["ir_float"], to=TensorProto.FLOAT),
        node("Cast", [vis], ["vis_float"], to=TensorProto.FLOAT),
        node("MatMul", ["vis_float", "luma"], ["y"]),
        node("Mul", ["ir_float", "inverse"], ["ir_unit"]),
        node("Sub", ["ir_unit", "y"], ["difference_nhwc"]),
        node("Transpose", ["difference_nhwc"], ["difference_fp32"], perm=[0, 3, 1, 2]),
        node("Cast", ["difference_fp32"], ["difference"], to=inner),
    ]
    convolved = ["difference", "box"]
    if precision == "int8":
        constants.update(
            zero=np.int8(0), scale=np.float32(1 / 127), box_scale=np.float32(1 / 9 / 127)
        )
        constants["box"] = np.full((1, 1, 3, 3), 127, np.int8)
        nodes += [
            node("QuantizeLinear", ["difference", "scale", "zero"], ["difference_int8"]),
            node("DequantizeLinear", ["difference_int8", "scale", "zero"], ["difference_dq"]),
            node("DequantizeLinear", ["box", "box_scale", "zero"], ["box_dq"]),
        ]
        convolved = ["difference_dq", "box_dq"]
    nodes += [
        node("Conv", convolved, ["blurred"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Cast", ["blurred"], ["blurred_fp32"], to=TensorProto.FLOAT),
        node("Transpose", ["blurred_fp32"], ["change_unit"], perm=[0, 2, 3, 1]),
        node("Mul", ["change_unit", "full"], ["change"]),
        node("Add", ["vis_float", "change"], ["sum"]),
        node("Round", ["sum"], ["rounded"]),
        node("Clip", ["rounded", "low", "high"], ["clipped"]),
        node("Cast", ["clipped"], [fused], to=dtype or TensorProto.UINT8),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "fusion",
        [
            value(ir, TensorProto.UINT8, [1, height, width, 1]),
            value(vis, TensorProto.UINT8, [1, height, width, 3]),
        ],
        [value(fused, dtype or TensorProto.UINT8, [1, height, width, 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def write_model(tmp_path):
    """Write the small network; returns its path. `metadata` replaces or (None) removes entries."""

    def write(
        precision="fp32",
        vis_order="rgb",
        size=("height", "width"),
        names=("ir", "vis", "fused"),
        output_type=None,
        metadata=None,
        file_name=None,
    ):
        model = build_graph(precision, vis_order, size, names, output_type)
        entries = {"format": "1", "variant": "box", "precision": precision, "vis_order": vis_order}
        entries.update(metadata or {})
        for key, value in entries.items():
            if value is not None:
                model.metadata_props.add(key="irvis_fusion." + key, value=value)
        path = tmp_path / (file_name or f"box_{precision}.onnx")
        path.write_bytes(model.SerializeToString())
        return str(path)

    return write


@pytest.fixture
def pair():
    """Random (ir, vis) of a height and width."""

    def make(height=48, width=70, seed=0):
        random = np.random.default_rng(seed)
        return (
            random.integers(0, 256, (height, width, 1), np.uint8),
            random.integers(0, 256, (height, width, 3), np.uint8),
        )

    return make


@pytest.fixture
def reference_fuse():
    return numpy_fuse
