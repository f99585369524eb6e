"""Reads the interface and metadata of an ONNX file, without any engine.

Every engine needs inputs, size, channel order and precision before it starts, and each reports bad
files differently, or crashes. The few protobuf fields that matter are read here with the standard
library, so that a robot does not need `onnx`. Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import List, NamedTuple, Tuple, Union

from irvis_fusion_core.errors import ModelError

METADATA_PREFIX = "irvis_fusion."
FORMAT_VERSION = "1"
PRECISIONS = ("fp32", "fp16", "int8")
VIS_ORDERS = ("rgb", "bgr")
# Grey levels by which the images of an exported file may differ from the student's own: rounding
# in fp32, half-precision arithmetic in fp16 (the last mix stays fp32).
BOUNDS = {"fp32": 1, "fp16": 4}
_ONNX_UINT8 = 2  # TensorProto.DataType.UINT8
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


class _TruncatedError(Exception):
    """The bytes ended inside a field."""


def read_model_file(path: str) -> ModelFile:
    """Read and check an ONNX file.

    Raises:
        ModelError: the file is missing, empty, truncated, not ONNX, or its inputs, output or
            metadata are not those of an irvis_fusion model.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ModelError(
            f"expected an ONNX model at {path!r}, found no such file; "
            "list the models that ship with `irvis_fusion doctor`, or give the path of an "
            "exported .onnx"
        )
    with open(path, "rb") as stream:
        content = stream.read()
    try:
        inputs, outputs, metadata = _read_model(memoryview(content))
    except (_TruncatedError, UnicodeDecodeError, ValueError):
        raise ModelError(
            f"expected a complete ONNX model in {path!r}, found {len(content)} bytes that end "
            "early or are not ONNX; copy or download the file again, or export it again"
        ) from None
    height, width = _check_interface(path, inputs, outputs)
    precision = _metadata(path, metadata, "precision", PRECISIONS)
    vis_order = _metadata(path, metadata, "vis_order", VIS_ORDERS)
    _metadata(path, metadata, "format", (FORMAT_VERSION,))
    return ModelFile(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        variant=_metadata(path, metadata, "variant", None),
        precision=precision,
        vis_order=vis_order,
        height=height,
        width=width,
    )


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
            "expected ir and vis of one height and width in {!r}, found {} and {}; "
            "export the model with `irvis_fusion export`".format(path, sizes["ir"], sizes["vis"])
        )
    return sizes["ir"]


def _read_model(content: memoryview) -> tuple[list[_Tensor], list[_Tensor], dict[str, str]]:
    graphs = list(_messages(content, 7))  # ModelProto.graph
    if len(graphs) != 1:
        raise ValueError("an ONNX model holds one graph")
    # GraphProto.initializer: some exporters repeat them as inputs.
    initializers = {_text(_first(each, 8)) for each in _messages(graphs[0], 5)}
    inputs = [_read_tensor(each) for each in _messages(graphs[0], 11)]
    outputs = [_read_tensor(each) for each in _messages(graphs[0], 12)]
    metadata = {  # ModelProto.metadata_props
        _text(_first(each, 1)): _text(_first(each, 2)) for each in _messages(content, 14)
    }
    return [tensor for tensor in inputs if tensor[0] not in initializers], outputs, metadata


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for field, value in _fields(message):
        if field == wanted and isinstance(value, memoryview):
            yield value


def _read_tensor(value_info: memoryview) -> _Tensor:
    name = _text(_first(value_info, 1))
    tensor_type = _first(_first(value_info, 2), 1)  # ValueInfoProto.type, TypeProto.tensor_type
    element_type = 0
    shape: list[Dimension] = []
    for field, value in _fields(tensor_type):
        if field == 1 and isinstance(value, int):
            element_type = value
        elif field == 2 and isinstance(value, memoryview):
            shape = [_read_dimension(dim) for key, dim in _fields(value) if key == 1]
    return name, element_type, shape


def _read_dimension(dimension: int | memoryview) -> Dimension:
    for field, value in _fields(dimension):
        if field == 1 and isinstance(value, int):
            return value
        if field == 2:
            return _text(value)
    return ""


def _first(message: int | memoryview, wanted: int) -> int | memoryview:
    for field, value in _fields(message):
        if field == wanted:
            return value
    return memoryview(b"")


def _text(value: int | memoryview) -> str:
    if isinstance(value, int):
        raise ValueError("expected text")
    return bytes(value).decode("utf-8")


def _fields(message: int | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, integer or bytes) of one protobuf message."""
    if isinstance(message, int):
        raise ValueError("expected a message")
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire_type = key >> 3, key & 7
        if field == 0:
            raise ValueError("field numbers start at 1")
        if wire_type == 0:
            number, position = _varint(message, position)
            yield field, number
            continue
        if wire_type == 2:
            length, position = _varint(message, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        if position + length > len(message):
            raise _TruncatedError
        yield field, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(message):
            raise _TruncatedError
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint has at most ten bytes")
