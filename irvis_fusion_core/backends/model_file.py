"""Reads the interface and metadata of an ONNX file, without any engine.

Every engine needs inputs, size, channel order and precision before it starts, and each reports bad
files differently, or crashes. The few protobuf fields that matter are read here with the standard
library, so that a robot does not need `onnx`. Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from typing import List, NamedTuple, Tuple, Union

from irvis_fusion_core.errors import ModelError

METADATA_PREFIX = "irvis_fusion."
FORMAT_VERSION = "1"
PRECISIONS = ("fp32", "fp16", "int8")
WEIGHTS = (".safetensors", ".pth", ".pt")  # suffixes of what torch alone runs
VIS_ORDERS = ("rgb", "bgr")
# Grey levels by which the images of an exported file may differ from the student's own: rounding
# in fp32, half-precision arithmetic in fp16 (the last mix stays fp32).
BOUNDS = {"fp32": 1, "fp16": 4}
_ONNX_UINT8 = 2  # TensorProto.DataType.UINT8
_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
CHANNELS = {"ir": 1, "vis": 3, "fused": 3}

Dimension = Union[int, str]  # a fixed number of pixels, or the name of a free dimension


class ModelFile(NamedTuple):
    """An irvis_fusion model: its file, inputs and precision."""

    path: str
    sha256: str
    variant: str
    precision: str  # fp32, fp16 or int8: type of weights and operators
    vis_order: str  # channel order of `vis` and `fused`: rgb or bgr
    height: Dimension
    width: Dimension

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of a model that takes one size only, else None."""
        if isinstance(self.height, int) and isinstance(self.width, int):
            return self.height, self.width
        return None


def read_model_file(path: str) -> ModelFile:
    """Read and check an ONNX file.

    Raises:
        ModelError: the file is missing, empty, truncated, not ONNX, or its inputs, output or
            metadata are not those of an irvis_fusion model.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ModelError(
            f"expected an ONNX model at {path!r}, found no such file; `irvis_fusion doctor` lists "
            "the models that ship, or give the path of an exported .onnx"
        )
    with open(path, "rb") as stream:
        content = stream.read()
    try:
        inputs, outputs, metadata = _read_model(memoryview(content))
        refuse_other_files(path, content)
    except ValueError:
        raise ModelError(
            f"expected a complete ONNX model in {path!r}, found {len(content)} bytes that end "
            "early or are not ONNX; copy or download the file again, or export it again"
        ) from None
    height, width = _check_interface(path, inputs, outputs)
    precision = _metadata(path, metadata, "precision", PRECISIONS)
    vis_order = _metadata(path, metadata, "vis_order", VIS_ORDERS)
    _metadata(path, metadata, "format", (FORMAT_VERSION,))
    variant = _metadata(path, metadata, "variant", None)
    sha256 = hashlib.sha256(content).hexdigest()
    return ModelFile(path, sha256, variant, precision, vis_order, height, width)


def _metadata(
    path: str, metadata: dict[str, str], name: str, allowed: tuple[str, ...] | None
) -> str:
    found = metadata.get(METADATA_PREFIX + name)
    if found is None or (allowed is not None and found not in allowed):
        expected = "set" if allowed is None else "one of " + ", ".join(allowed)
        raise ModelError(
            f"expected the ONNX metadata {METADATA_PREFIX}{name} to be {expected} in {path!r}, "
            f"found {'nothing' if found is None else repr(found)}; "
            "export the model with `irvis_fusion export`"
        )
    return found


_Tensor = Tuple[str, int, List[Dimension]]  # name, ONNX element type, shape
_Value = Union[int, memoryview]


def _check_interface(
    path: str, inputs: list[_Tensor], outputs: list[_Tensor]
) -> tuple[Dimension, Dimension]:
    """Check names, type, rank and channels; return the (height, width) of the model."""
    names = sorted(name for name, _, _ in inputs), [name for name, _, _ in outputs]
    if names != (["ir", "vis"], ["fused"]):
        raise ModelError(
            f"expected a model with inputs ir, vis and output fused in {path!r}, found inputs "
            f"{', '.join(names[0]) or 'none'} and outputs {', '.join(names[1]) or 'none'}; "
            "export it with `irvis_fusion export`"
        )
    sizes = {}
    for name, element_type, shape in inputs + outputs:
        channels = CHANNELS[name]
        # Tracing names an output's sizes; an input always states batch and channels.
        free = (str,) if name == "fused" else ()
        if (
            element_type != _ONNX_UINT8
            or len(shape) != 4
            or not (shape[0] == 1 or isinstance(shape[0], free))
            or not (shape[3] == channels or isinstance(shape[3], free))
        ):
            raise ModelError(
                f"expected {name} to be uint8 [1, height, width, {channels}] in {path!r}, found "
                f"ONNX element type {element_type} and shape {shape}; "
                "export the model with `irvis_fusion export`"
            )
        sizes[name] = shape[1], shape[2]
    if sizes["ir"] != sizes["vis"]:
        raise ModelError(
            f"expected ir and vis of one height and width in {path!r}, found {sizes['ir']} and "
            f"{sizes['vis']}; export the model with `irvis_fusion export`"
        )
    return sizes["ir"]


def _read_model(content: memoryview) -> tuple[list[_Tensor], list[_Tensor], dict[str, str]]:
    model = read_fields(content)
    if len(model[7]) != 1:  # ModelProto.graph
        raise ValueError("an ONNX model holds one graph")
    graph = read_fields(model[7][0])
    # GraphProto.initializer: some exporters repeat them as inputs.
    initializers = {read_text(read_fields(each)[8]) for each in graph[5]}
    inputs = [_read_tensor(each) for each in graph[11]]
    properties = [read_fields(each) for each in model[14]]  # ModelProto.metadata_props
    metadata = {read_text(each[1]): read_text(each[2]) for each in properties}
    inputs = [tensor for tensor in inputs if tensor[0] not in initializers]
    return inputs, [_read_tensor(each) for each in graph[12]], metadata


# What holds tensors: field numbers of each message, and the messages in them.
_HOLDERS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def external_files(content: bytes) -> list[str]:
    """Return the names of the other files in which an ONNX model keeps tensors.

    Raises:
        ValueError: The bytes are no ONNX model.
    """
    names = set()
    waiting: list[tuple[str, _Value]] = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        fields = read_fields(message)
        if kind != "tensor":
            parts = _HOLDERS[kind].items()
            waiting += [(inner, each) for field, inner in parts for each in fields[field]]
        elif _EXTERNAL in fields[14]:  # TensorProto.data_location
            entries = [read_fields(each) for each in fields[13]]
            found = [read_text(e[2]) for e in entries if read_text(e[1]) == "location"]
            names.update(found or [""])
    return sorted(names)


def refuse_other_files(path: str, content: bytes) -> None:
    """Refuse the model of `path` where it keeps tensors in other files.

    Raises:
        ModelError: It does.
        ValueError: The bytes are no ONNX model.
    """
    others = external_files(content)
    if others:
        raise ModelError(
            f"expected a model in one file, found that {path!r} keeps weights in {others[0]!r}, "
            "which no checksum covers; join them: `import onnx; onnx.save(onnx.load('a.onnx'), "
            "'whole.onnx')`"
        )


def _read_tensor(value_info: _Value) -> _Tensor:
    value = read_fields(value_info)
    # ValueInfoProto.type, TypeProto.tensor_type
    tensor_type = read_fields(_first(read_fields(_first(value[2]))[1]))
    element_types = [each for each in tensor_type[1] if isinstance(each, int)]
    shape = [_read_dimension(each) for each in read_fields(_first(tensor_type[2]))[1]]
    return read_text(value[1]), element_types[0] if element_types else 0, shape


def _read_dimension(dimension: _Value) -> Dimension:
    fields = read_fields(dimension)
    pixels = [each for each in fields[1] if isinstance(each, int)]
    return pixels[0] if pixels else read_text(fields[2])


def _first(values: list[_Value]) -> _Value:
    return values[0] if values else memoryview(b"")


def read_text(values: list[_Value]) -> str:
    value = _first(values)
    if isinstance(value, int):
        raise ValueError("expected text")
    return bytes(value).decode("utf-8")


def read_fields(message: _Value) -> dict[int, list[_Value]]:
    """Return the values, integers or bytes, of each field number of a protobuf message."""
    if isinstance(message, int):
        raise ValueError("expected a message")
    fields: dict[int, list[_Value]] = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = read_varint(message, position)
        field, wire_type = key >> 3, key & 7
        if field == 0:
            raise ValueError("field numbers start at 1")
        if wire_type == 0:
            number, position = read_varint(message, position)
            fields[field].append(number)
            continue
        if wire_type not in (1, 2, 5):
            raise ValueError(f"unknown wire type {wire_type}")
        length = 8 if wire_type == 1 else 4
        if wire_type == 2:
            length, position = read_varint(message, position)
        if position + length > len(message):
            raise ValueError("the bytes end inside a field")
        fields[field].append(message[position : position + length])
        position += length
    return fields


def read_varint(message: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number, position + shift + 1
    raise ValueError("the bytes end inside a number, or it has more than ten")
