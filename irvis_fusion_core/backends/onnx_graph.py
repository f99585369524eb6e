"""Reads the nodes and constants of an ONNX file, with NumPy and the standard library.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.backends.model_file import read_fields, read_text, read_varint

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
    """Return the nodes in the order to run, and the constants by name."""
    with open(path, "rb") as stream:
        model = read_fields(memoryview(stream.read()))
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
