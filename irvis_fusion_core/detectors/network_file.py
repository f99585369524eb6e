"""Detector files and the engines that run them: ONNX Runtime, OpenVINO or OpenCV."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from irvis_fusion_core.backends.model_file import external_files
from irvis_fusion_core.bounded_file import PARAMETER_BYTES, parse_yaml, read_text
from irvis_fusion_core.errors import EngineUnavailableError, FileContentError, ModelError

DEFAULT_SIDE = 640
"""Of an input whose size the model leaves open."""


class Network(Protocol):
    """A detector network on some engine.

    Attributes:
        input_size: height and width.
        metadata: of the file, text by name.
    """

    input_size: tuple[int, int]
    metadata: dict[str, str]

    def run(self, tensor: np.ndarray) -> list[np.ndarray]:
        """Return all outputs for an input [1, 3, height, width]."""


def open_network(path: str, threads: int = 0) -> Network:
    """Open an .onnx, or OpenVINO's .xml; `threads` of the engine, 0 for its own choice.

    Raises:
        EngineUnavailableError: nothing here can run it.
        ModelError: the file is missing or unreadable, or its input is not one image.
    """
    if not os.path.isfile(path):
        raise ModelError(f"expected a detector's .onnx or .xml at {path}, found no such file")
    refuse_other_folders(path)
    if path.endswith(".xml"):
        return _OpenVinoNetwork(path, threads)
    try:
        import onnxruntime
    except ImportError:
        return _OpenCvNetwork(path)
    return _RuntimeNetwork(onnxruntime, path, threads)


def refuse_other_folders(path: str) -> None:
    """Refuse an ONNX file that keeps tensors elsewhere than in files next to it.

    Raises:
        ModelError: It does, or is no ONNX file.
    """
    if path.endswith(".xml"):
        return
    try:
        with open(path, "rb") as stream:
            names = external_files(stream.read())
    except (OSError, ValueError) as error:
        raise ModelError(f"expected an ONNX detector in {path}, found: {error}") from error
    for name in names:
        neighbour = os.path.join(os.path.dirname(os.path.abspath(path)), name)
        if os.path.dirname(name) or not os.path.isfile(neighbour) or os.path.islink(neighbour):
            raise ModelError(
                f"expected the tensors of {path} in it or in a file next to it, found that it "
                f"names {name!r}; put both files into one folder, without links"
            )


def class_names(metadata: Mapping[str, str]) -> list[str]:
    """Return the class names, which exporters write as a Python dict or list."""
    try:
        names = ast.literal_eval(metadata.get("names", "[]"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


def _image_size(inputs: Sequence[tuple[str, Sequence[Any]]], path: str) -> tuple[int, int]:
    """Return height and width of the image among inputs (name, shape); open ones by default.

    A second input takes the size of the image, as RT-DETR's `orig_target_sizes` does.
    """
    shape = inputs[0][1] if inputs else ()
    sizes_only = all(len(other) <= 2 for _, other in inputs[1:2])
    if len(inputs) not in (1, 2) or not sizes_only or len(shape) != 4 or shape[1] not in (3, "3"):
        raise ModelError(
            f"expected one input [1, 3, height, width] in {path}, found "
            f"{[(name, list(shape)) for name, shape in inputs]}; export a detector with channels "
            "first (EfficientDet and other TensorFlow files have them last)"
        )
    height, width = (side if isinstance(side, int) else DEFAULT_SIDE for side in shape[2:])
    return height, width


class _RuntimeNetwork:
    """ONNX Runtime on the CPU."""

    def __init__(self, onnxruntime: Any, path: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            cpu = ["CPUExecutionProvider"]
            self._session = onnxruntime.InferenceSession(path, options, providers=cpu)
        except Exception as error:  # onnxruntime's own classes, which have no common root
            raise ModelError(
                f"expected an ONNX detector in {path}, found: {error}; export it once more"
            ) from error
        inputs = self._session.get_inputs()
        self.input_size = _image_size([(i.name, i.shape) for i in inputs], path)
        self._type = np.float16 if "float16" in inputs[0].type else np.float32
        self._names = [i.name for i in inputs]
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, tensor: np.ndarray) -> list[np.ndarray]:
        size = np.array([tensor.shape[:1:-1]], np.int64)  # width, height
        feed = dict(zip(self._names, (tensor.astype(self._type), size)))
        return [np.asarray(output) for output in self._session.run(None, feed)]


class _OpenVinoNetwork:
    """OpenVINO on the CPU; names come from Ultralytics' metadata.yaml or the model's own info."""

    def __init__(self, path: str, threads: int) -> None:
        from irvis_fusion_core.optional_packages import openvino_core

        core = openvino_core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ModelError(
                f"expected an OpenVINO detector in {path}, found: {error}; is the .bin next to it?"
            ) from error
        inputs = [
            (port.any_name if port.names else "", [_side(side) for side in port.partial_shape])
            for port in model.inputs
        ]
        self.input_size = _image_size(inputs, path)
        if model.is_dynamic():
            model.reshape({model.inputs[0]: [1, 3, *self.input_size]})
        settings = {"INFERENCE_NUM_THREADS": threads} if threads else {}
        self._request = core.compile_model(model, "CPU", settings)
        self.metadata = _openvino_metadata(model, path)

    def run(self, tensor: np.ndarray) -> list[np.ndarray]:
        size = np.array([tensor.shape[:1:-1]], np.int64)
        found = self._request([tensor, size][: len(self._request.inputs)])
        return [np.array(found[index]) for index in range(len(found))]


def _side(dimension: Any) -> int | str:
    return dimension.get_length() if dimension.is_static else "open"


def _openvino_metadata(model: Any, path: str) -> dict[str, str]:
    if model.has_rt_info(["model_info", "labels"]):
        labels = str(model.get_rt_info(["model_info", "labels"]).value).split()
        return {"names": repr([label.replace("_", " ") for label in labels])}
    path = os.path.join(os.path.dirname(path), "metadata.yaml")
    if not os.path.isfile(path):
        return {}
    try:
        tree = parse_yaml(read_text(path, PARAMETER_BYTES))
        return {str(key): str(value) for key, value in tree.items()}
    except (FileContentError, AttributeError) as error:
        raise ModelError(f"expected the detector's names in {path}, found: {error}") from error


class _OpenCvNetwork:
    """OpenCV: square input of the default size, no class names."""

    def __init__(self, path: str) -> None:
        if not hasattr(cv2.dnn, "readNetFromONNX"):
            raise EngineUnavailableError(
                "expected ONNX Runtime or an OpenCV with dnn for a detector, found neither; "
                "pip install onnxruntime"
            )
        try:
            self._network = cv2.dnn.readNetFromONNX(path)
        except cv2.error as error:
            raise ModelError(
                f"expected an ONNX detector that OpenCV reads in {path}, found: {error}; "
                "pip install onnxruntime takes more of them"
            ) from error
        self.input_size = (DEFAULT_SIDE, DEFAULT_SIDE)
        self.metadata: dict[str, str] = {}

    def run(self, tensor: np.ndarray) -> list[np.ndarray]:
        self._network.setInput(tensor)
        names = self._network.getUnconnectedOutLayersNames()
        return [np.asarray(output) for output in self._network.forward(names)]
