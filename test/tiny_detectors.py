"""Small ONNX detectors in the layouts of YOLOX and NanoDet, with random weights."""

from pathlib import Path

import numpy as np

STRIDES = (8, 16, 32)


def write_yolox(path: Path, side: int = 96, fixed: bool = True) -> Path:
    """Write [1, cells, 85], a raw grid."""
    from onnx import helper

    nodes, weights, parts = [], [], []
    for stride in STRIDES:
        kernels = _kernels(85, stride, seed=stride)
        if stride == 32:
            kernels[5 + 2] *= 30.0  # cars are found here and there
        weights.append(_constant(f"k{stride}", kernels))
        nodes.append(_convolution("image", f"k{stride}", f"raw{stride}", stride))
        nodes += _rows(f"raw{stride}", f"rows{stride}", 85)
        parts.append(f"rows{stride}")
    nodes.append(helper.make_node("Concat", parts, ["table"], axis=1))
    weights += [_constant("cut", np.array([4, 81], np.int64))]
    nodes.append(helper.make_node("Split", ["table", "cut"], ["places", "logits"], axis=2))
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"]))
    nodes.append(helper.make_node("Concat", ["places", "scores"], ["found"], axis=2))
    return _save(path, nodes, weights, ["found"], side, fixed)


def write_nanodet(path: Path, side: int = 96) -> Path:
    """Write six outputs: scores [1, cells, 80] and distances [1, cells, 32] by stride."""
    from onnx import helper

    nodes, weights, scores, distances = [], [], [], []
    for stride in STRIDES:
        for kind, channels, names in (("s", 80, scores), ("d", 32, distances)):
            weights.append(
                _constant(f"k{kind}{stride}", 50.0 * _kernels(channels, stride, stride))
            )
            nodes.append(_convolution("image", f"k{kind}{stride}", f"raw{kind}{stride}", stride))
            nodes += _rows(f"raw{kind}{stride}", f"{kind}{stride}", channels)
            names.append(f"{kind}{stride}")
        nodes.append(helper.make_node("Sigmoid", [f"s{stride}"], [f"p{stride}"]))
        scores[-1] = f"p{stride}"
    return _save(path, nodes, weights, scores + distances, side, True)


def _kernels(channels: int, stride: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    kernels = random.normal(0.0, 1.0, (channels, 3, stride, stride)).astype(np.float32)
    return kernels / np.float32(255.0 * stride)


def _constant(name, array):
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)


def _convolution(given, kernels, found, stride):
    from onnx import helper

    sides = [stride, stride]
    return helper.make_node("Conv", [given, kernels], [found], kernel_shape=sides, strides=sides)


def _rows(given, found, channels):
    from onnx import helper

    shape = helper.make_node("Constant", [], [found + "_shape"], value_ints=[1, channels, -1])
    return [
        shape,
        helper.make_node("Reshape", [given, found + "_shape"], [found + "_flat"]),
        helper.make_node("Transpose", [found + "_flat"], [found], perm=[0, 2, 1]),
    ]


def _save(path, nodes, weights, outputs, side, fixed):
    import onnx
    from onnx import TensorProto, helper

    shape = [1, 3, side, side] if fixed else [1, 3, "height", "width"]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    found = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph(nodes, "tiny", [image], found, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path
