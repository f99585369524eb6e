"""ONNX Runtime: the CPU everywhere, and the other providers of the installed wheel."""

from __future__ import annotations

from typing import Any

import numpy as np

from irvis_fusion_core.backends.cuda_device import find_gpu
from irvis_fusion_core.backends.model_file import ModelFile
from irvis_fusion_core.backends.protocol import Backend, BackendOptions
from irvis_fusion_core.errors import EngineUnavailableError
from irvis_fusion_core.optional_packages import import_engine

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
_LOG_ERRORS_ONLY = 3  # onnxruntime severity: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal


class OnnxRuntimeBackend(Backend):
    """One session for each frame size: a known size lets ONNX Runtime fold padding and shapes."""

    name = "onnxruntime"
    # onnxruntime derives its errors from RuntimeError, ValueError and Exception in turn.
    failures = (Exception,)

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        super().__init__(model, options)
        self._require_model_precision()
        self._providers = _providers(options.device)

    @classmethod
    def _find(cls, device: str | None) -> tuple[str, str]:
        onnxruntime = import_engine("onnxruntime")
        version = onnxruntime.__version__
        present = onnxruntime.get_available_providers()
        if device is not None:
            kind = device.lower().partition(":")[0]
            if _PROVIDERS.get(kind) not in present:
                raise EngineUnavailableError(
                    f"onnxruntime {version} has no provider for device {device!r}, only "
                    f"{', '.join(map(_short, present))}; install its wheel (cuda: onnxruntime-gpu)"
                )
            if kind in ("cuda", "tensorrt"):
                gpu, reason = find_gpu(_index(device))
                if gpu is None:
                    raise EngineUnavailableError(reason)
        return version, f"onnxruntime {version} is installed"

    def _compile(self, height: int, width: int) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.intra_op_num_threads = self.options.threads
        settings.log_severity_level = _LOG_ERRORS_ONLY
        for dimension, pixels in ((self.model.height, height), (self.model.width, width)):
            if isinstance(dimension, str) and dimension:
                settings.add_free_dimension_override_by_name(dimension, pixels)
        path, providers = self.model.path, self._providers
        session = onnxruntime.InferenceSession(path, settings, providers=providers)
        wanted, found = self._providers[0][0], session.get_providers()[0]
        # A provider whose libraries are missing is dropped with a log line only.
        if self.options.device is not None and found != wanted:
            raise EngineUnavailableError(
                f"expected ONNX Runtime on {_short(wanted)}, found that it fell back to "
                f"{_short(found)}; install the libraries (CUDA, cuDNN) that this wheel needs"
            )
        return session

    def _run(self, compiled: Any, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        # The inputs are read in place; the output is new memory.
        return compiled.run(["fused"], {"ir": ir[np.newaxis], "vis": vis[np.newaxis]})[0][0]

    def _describe(self) -> dict[str, Any]:
        providers = [name for name, _ in self._providers]
        if self._compiled:
            providers = next(reversed(self._compiled.values())).get_providers()
        return {"device": _short(providers[0]), "providers": providers}


def _providers(device: str | None) -> list[tuple[str, dict[str, int]]]:
    """Return the providers to ask for, best first; the CPU runs what the first cannot."""
    import onnxruntime

    cpu = _PROVIDERS["cpu"]
    if device is None:
        present = onnxruntime.get_available_providers()
        device = "cuda" if _PROVIDERS["cuda"] in present and find_gpu(0)[0] else "cpu"
    provider = _PROVIDERS[device.lower().partition(":")[0]]
    first = (provider, {"device_id": _index(device)} if _index(device) else {})
    return [(cpu, {})] if provider == cpu else [first, (cpu, {})]


def _index(device: str) -> int:
    number = device.partition(":")[2]
    return int(number) if number.isdigit() else 0


def _short(provider: str) -> str:
    return provider.replace("ExecutionProvider", "").lower()
