"""Runs the displacement network on ONNX Runtime or OpenVINO.

The file is what `irvis_fusion_core.network.displacement_files` writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import cv2
import numpy as np

from irvis_fusion_core.backends.model_file import refuse_other_files
from irvis_fusion_core.errors import EngineError, EngineUnavailableError, ModelError
from irvis_fusion_core.optional_packages import import_engine, openvino_core
from irvis_fusion_core.registration.camera_geometry import Size

CELL = 4
"""Side of a cell of the field, pixels of the network's input."""
_MULTIPLE = 8
_LARGEST_SIDE = 320
"""The image is seen at this size: 32 pixels of a 640x480 image are within the network's reach."""

if TYPE_CHECKING:  # Python 3.8 does not evaluate it
    Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


class FieldNetwork:
    """The displacement network on one engine; the size of the last images stays compiled.

    Args:
        path: The ONNX file.
        threads: CPU threads of the engine; 0 leaves the number to the engine.

    Raises:
        ModelError: The file is missing, or keeps its weights in other files.
        EngineUnavailableError: Neither engine is installed.
    """

    def __init__(self, path: str, threads: int = 0) -> None:
        if not os.path.isfile(path):
            raise ModelError(f"expected the displacement network at {path}, found no such file")
        with open(path, "rb") as stream, suppress(ValueError):  # the engine names what is no ONNX
            refuse_other_files(path, stream.read())
        self._path, self._threads = path, threads
        self.engine, self._compile = self._open()
        self._size: Size = (0, 0)
        self._run: Run | None = None

    def is_ready(self, image_size: Size) -> bool:
        """Return whether `field` has its engine for images of (height, width)."""
        return self._size == working_size(image_size)

    def prepare(self, image_size: Size) -> None:
        """Compile for images of (height, width), a second's work; at once where that is done.

        Raises:
            ModelError: The file is no displacement network.
        """
        size = working_size(image_size)
        if size != self._size:
            self._run = self._compile(size)
            self._size = size

    def field(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """Return float32 3 x rows x columns: x, y in pixels of the images, and the confidence.

        Both images are uint8 HxW on one grid. The field spans the image, cell by cell; what lies
        at a visible pixel lies that much further in the thermal image.

        Raises:
            EngineError: The engine failed.
            ModelError: The file is no displacement network.
        """
        height, width = ir.shape
        self.prepare(ir.shape)
        size = self._size
        assert self._run is not None
        seen = [cv2.resize(x, size[::-1], interpolation=cv2.INTER_AREA) for x in (ir, vis)]
        try:
            found = self._run(*(x[None, :, :, None] for x in seen))
        except Exception as error:  # engines have no common error
            raise EngineError(f"{self.engine} failed on {self._path}: {error}") from error
        field = np.array(found, np.float32)
        field[0] *= width / size[1]
        field[1] *= height / size[0]
        return field

    def _open(self) -> tuple[str, Callable[[Size], Run]]:
        reasons = []
        for name, opener in (("openvino", self._openvino), ("onnxruntime", self._onnxruntime)):
            try:
                import_engine(name)
            except EngineUnavailableError as error:
                reasons.append(str(error))
                continue
            return name, opener
        raise EngineUnavailableError(
            "expected OpenVINO or ONNX Runtime for registration mode 'learned', found neither: "
            + "; ".join(reasons)
        )

    def _openvino(self, size: Size) -> Run:
        core = openvino_core()
        settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if self._threads:
            settings["INFERENCE_NUM_THREADS"] = self._threads
        try:
            network = core.read_model(self._path)
            network.reshape({name: [1, *size, 1] for name in ("ir", "vis")})
            request = core.compile_model(network, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise _unusable(self._path, error) from error
        return lambda ir, vis: request.infer({"ir": ir, "vis": vis}, share_inputs=True)[0]

    def _onnxruntime(self, size: Size) -> Run:
        runtime = import_engine("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads
        for name, side in zip(("height", "width"), size):
            options.add_free_dimension_override_by_name(name, side)
        try:
            session = runtime.InferenceSession(
                self._path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common root
            raise _unusable(self._path, error) from error
        return lambda ir, vis: session.run(["field"], {"ir": ir, "vis": vis})[0]


def working_size(size: Size) -> Size:
    """Return the (height, width) at which the network sees images of `size`.

    The longer side becomes `_LARGEST_SIDE`, or half of it where that is less; both become
    multiples of 8.
    """
    scale = min(0.5, _LARGEST_SIDE / max(size))
    height, width = (
        max(_MULTIPLE * round(side * scale / _MULTIPLE), 2 * _MULTIPLE) for side in size
    )
    return height, width


def _unusable(path: str, error: Exception) -> ModelError:
    return ModelError(
        f"expected a displacement network in {path}, found: {error}; export it with "
        "`python -m training.registration.export_registration`"
    )
