"""NumPy and OpenCV alone: runs where no inference engine is installed, such as after `rosdep`.

It interprets the ONNX file node by node. With OpenBLAS it takes 1.2 to 2 times as long as ONNX
Runtime on one thread, with the reference BLAS six times (docs/install.md). Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.backends.model_file import ModelFile, read_fields, read_text, read_varint
from irvis_fusion_core.backends.protocol import Backend, BackendOptions
from irvis_fusion_core.errors import EngineError, EngineUnavailableError, ModelError

# TensorProto.DataType -> NumPy. Half precision is stored so, and calculated in single precision.
DTYPES: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float32,
    11: np.float64,
}
_FLOAT16 = 10


class Node(NamedTuple):
    """One operator: names of its inputs ("" where one is left out) and outputs."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


def read_graph(path: str) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Return the nodes in the order to run, and the constants by name.

    Raises:
        ModelError: A node or constant cannot be read.
    """
    with open(path, "rb") as stream:
        content = stream.read()
    try:
        return _read_graph(content)
    except (ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
        raise ModelError(
            f"expected nodes and constants that the numpy engine reads in {path}, found "
            f"{type(error).__name__}: {error}; export the model again, or install onnxruntime"
        ) from error


def _read_graph(content: bytes) -> tuple[list[Node], dict[str, np.ndarray]]:
    model = read_fields(memoryview(content))
    graph = read_fields(model[7][0])
    constants = dict(_tensor(each) for each in graph[5])
    nodes = []
    for each in graph[1]:
        found = read_fields(each)
        inputs, outputs = ([read_text([name]) for name in found[field]] for field in (1, 2))
        attributes = dict(_attribute(attribute) for attribute in found[5])
        node = Node(read_text(found[4]), inputs, outputs, attributes)
        if node.operator == "Constant":
            constants[node.outputs[0]] = node.attributes["value"]
        else:
            nodes.append(node)
    return nodes, constants


def _tensor(message: Any) -> tuple[str, np.ndarray]:
    found: Any = read_fields(message)
    kind = found[2][0]
    dtype = np.dtype(np.float16 if kind == _FLOAT16 else DTYPES[kind])
    if found[9]:  # raw_data
        flat = np.frombuffer(found[9][0], dtype)
    elif found[4]:  # float_data
        flat = np.frombuffer(b"".join(found[4]), np.float32)
    else:  # int32_data, int64_data
        flat = np.array(_integers(found[5] or found[7]), dtype)
    array = flat.reshape(_integers(found[1])).astype(DTYPES[kind])
    return read_text(found[8]), array


def _attribute(message: Any) -> tuple[str, Any]:
    found: Any = read_fields(message)
    value: Any = None
    if found[8]:
        value = _integers(found[8])
    elif found[5]:
        value = _tensor(found[5][0])[1]
    elif found[4]:
        value = read_text(found[4])
    elif found[3]:
        value = _integers(found[3])[0]
    elif found[2]:
        value = struct.unpack("<f", found[2][0])[0]
    return read_text(found[1]), value


def _integers(values: Any) -> list[int]:
    """Return signed integers, written one by one or packed."""
    numbers = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = read_varint(value, position)
            numbers.append(number)
    return [number - (1 << 64) if number >= 1 << 63 else number for number in numbers]


class NumpyBackend(Backend):
    """Interprets the ONNX file; `_run` works for every size."""

    name = "numpy"
    failures = (ValueError, TypeError, NotImplementedError, cv2.error)

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        super().__init__(model, options)
        self._require_model_precision()
        self._nodes, self._constants = read_graph(model.path)
        unknown = {node.operator for node in self._nodes} - set(OPERATORS)
        if unknown:
            raise EngineError(
                f"expected operators that the numpy engine has in {model.path}, found "
                f"{', '.join(sorted(unknown))}; install onnxruntime or openvino"
            )
        # Arrays are freed after their last use: the memory then stays in the cache.
        last_use = {name: i for i, node in enumerate(self._nodes) for name in node.inputs}
        self._freed: list[list[str]] = [[] for _ in self._nodes]
        for name, i in last_use.items():
            if name not in self._constants:
                self._freed[i].append(name)

    @classmethod
    def _find(cls, device: str | None) -> tuple[str, str]:
        if device not in (None, "cpu"):
            raise EngineUnavailableError(f"numpy runs on the cpu, not on {device!r}")
        text = f"numpy {np.__version__} is installed; slow, for machines without another engine"
        return np.__version__, text

    def _compile(self, height: int, width: int) -> None:
        return None

    def _run(self, compiled: Any, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        values: dict[str, Any] = {**self._constants, "ir": ir[None], "vis": vis[None], "": None}
        for node, freed in zip(self._nodes, self._freed):
            arguments = [values[name] for name in node.inputs]
            result = OPERATORS[node.operator](*arguments, **node.attributes)
            values.update(zip(node.outputs, result if isinstance(result, list) else [result]))
            for name in freed:
                values[name] = None
        return np.ascontiguousarray(values["fused"][0])

    def _describe(self) -> dict[str, Any]:
        return {"device": "cpu"}


def _conv(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    group: int = 1,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    **_: Any,
) -> np.ndarray:
    outputs, depth, *kernel = weights.shape
    depthwise = depth == 1 and group == outputs == x.shape[1]
    _expect(max(dilations) == 1 and (group == 1 or depthwise), "a dense or depthwise Conv")
    shift = np.zeros(outputs, np.float32) if bias is None else bias
    if kernel == [1, 1] and group == 1 and max(strides) == 1 and max(pads) == 0:
        result = weights.reshape(outputs, depth) @ x.reshape(depth, -1)
        result += shift[:, None]
        return result.reshape(1, outputs, *x.shape[2:])
    same = max(strides) == 1 and list(pads) == [side // 2 for side in kernel] * 2
    if depthwise and same and all(side % 2 for side in kernel):
        result = np.empty_like(x)
        for channel in range(outputs):
            cv2.filter2D(
                x[0, channel],
                cv2.CV_32F,
                weights[channel, 0],
                dst=result[0, channel],
                delta=float(shift[channel]),
                borderType=cv2.BORDER_CONSTANT,
            )
        return result
    windows = _windows(x, kernel, pads, strides)
    size = windows[0].shape[2:]
    if not depthwise:
        columns = np.concatenate(windows, axis=1).reshape(-1, size[0] * size[1])
        result = weights.transpose(0, 2, 3, 1).reshape(outputs, -1) @ columns
        result += shift[:, None]
        return result.reshape(1, outputs, *size)
    result = np.empty((1, outputs, *size), np.float32)
    result[:] = shift[:, None, None]
    for window, weight in zip(windows, weights.reshape(outputs, -1).T):
        result += window * weight[:, None, None]
    return result


def _windows(
    x: np.ndarray, kernel: Sequence[int], pads: Sequence[int], strides: Sequence[int]
) -> list[np.ndarray]:
    """Return for each tap of the kernel, row by row, the pixels that it sees."""
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    (down, across), (bottom, right) = strides, padded.shape[2:]
    return [
        padded[:, :, row : bottom - kernel[0] + row + 1 : down, column:last:across]
        for row in range(kernel[0])
        for column, last in ((c, right - kernel[1] + c + 1) for c in range(kernel[1]))
    ]


def _average_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    count_include_pad: int = 0,
    ceil_mode: int = 0,
    **_: Any,
) -> Any:
    _expect(not ceil_mode, "AveragePool without ceil_mode")
    total = sum(_windows(x, kernel_shape, pads, strides))
    if count_include_pad:
        return total / np.float32(kernel_shape[0] * kernel_shape[1])
    return total / sum(_windows(np.ones_like(x[:, :1]), kernel_shape, pads, strides))


def _hard_swish(x: np.ndarray) -> np.ndarray:
    result = x + np.float32(3)
    np.clip(result, 0, 6, out=result)
    result *= x
    result *= np.float32(1 / 6)
    return result


def _depth_to_space(x: np.ndarray, *, blocksize: int, mode: str = "DCR") -> np.ndarray:
    _, depth, height, width = x.shape
    split = (depth // blocksize**2, blocksize, blocksize)
    if mode == "CRD":
        blocks = x.reshape(*split, height, width).transpose(0, 3, 1, 4, 2)
    else:
        blocks = x.reshape(*split[::-1], height, width).transpose(2, 3, 0, 4, 1)
    return blocks.reshape(1, split[0], height * blocksize, width * blocksize)


def _resize(
    x: np.ndarray, roi: Any = None, scales: Any = None, *, mode: str = "nearest", **_: Any
) -> np.ndarray:
    whole = scales is not None and not np.any(scales % 1)
    _expect(mode == "nearest" and whole, "Resize nearest by a whole factor")
    return x.repeat(int(scales[2]), axis=2).repeat(int(scales[3]), axis=3)


def _slice(x: np.ndarray, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    index = [slice(None)] * x.ndim
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps):
        # Backwards, "to the front" is a number far below zero.
        index[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(index)]


def _reshape(x: np.ndarray, shape: np.ndarray, *, allowzero: int = 0) -> np.ndarray:
    kept = enumerate(shape.tolist())
    return x.reshape([x.shape[i] if side == 0 and not allowzero else side for i, side in kept])


def _pad(x: np.ndarray, pads: np.ndarray, value: Any = 0, *, mode: str = "constant") -> np.ndarray:
    sides = np.asarray(pads).reshape(2, -1).T
    if mode == "constant":
        return np.pad(x, sides, constant_values=0 if value is None else value)
    return np.pad(x, sides, mode)  # type: ignore[call-overload] # edge and reflect, as in ONNX


def _quantize(x: np.ndarray, scale: Any, zero: Any, *, axis: int = 1) -> np.ndarray:
    scale, zero = (_along(axis, x.ndim, each) for each in (scale, zero))
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(zero.dtype)


def _dequantize(x: np.ndarray, scale: Any, zero: Any, *, axis: int = 1) -> np.ndarray:
    scale, zero = (_along(axis, x.ndim, each) for each in (scale, zero))
    return (x.astype(np.float32) - zero) * scale


def _along(axis: int, ndim: int, values: np.ndarray) -> np.ndarray:
    """Shape one number, or one for each index of `axis`, for arithmetic with an array."""
    return values if values.ndim == 0 else values.reshape([-1] + [1] * (ndim - 1 - axis % ndim))


def _expect(supported: bool, what: str) -> None:
    if not supported:
        raise NotImplementedError(f"expected {what}")


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "AveragePool": _average_pool,
    "Cast": lambda x, to: np.asarray(x).astype(DTYPES[to], copy=False),
    "Clip": lambda x, low=None, high=None: np.clip(x, low, high),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "ConstantOfShape": lambda shape, value: np.full(shape.tolist(), value[0]),
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantize,
    "Div": lambda a, b: a / b if a.dtype.kind == "f" else a // b,
    "Gather": lambda x, index, axis=0: np.take(x, index, axis),
    "HardSwish": _hard_swish,
    "Identity": lambda x: x,
    "MatMul": np.matmul,
    "Mod": lambda a, b, fmod=0: np.mod(a, b),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "ReduceMean": lambda x, axes, keepdims=1: x.mean(tuple(axes), keepdims=bool(keepdims)),
    "Relu": lambda x: np.maximum(x, 0),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": np.rint,
    "Shape": lambda x: np.array(x.shape),
    "Slice": _slice,
    "Split": lambda x, sizes, axis=0: np.split(x, np.cumsum(sizes)[:-1], axis),
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Sub": np.subtract,
    "Transpose": lambda x, perm: x.transpose(perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
}
"""ONNX operator -> function of the inputs, then of the attributes by name; a list: all outputs."""
