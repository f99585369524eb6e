"""OpenVINO: the fastest engine on x86 CPUs, and a way to Intel GPUs and NPUs."""

from __future__ import annotations

from typing import Any

import numpy as np

from irvis_fusion_core.backends.model_file import ModelFile
from irvis_fusion_core.backends.protocol import Backend, BackendOptions
from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError
from irvis_fusion_core.optional_packages import import_engine, openvino_core

# bf16 is opt-in: it is faster where the processor has AMX or AVX512-BF16, and a little coarser.
_INFERENCE_PRECISION = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class OpenVinoBackend(Backend):
    """One compiled model for each frame size; frames are read in place."""

    name = "openvino"
    reuses_result = True
    failures = (RuntimeError,)

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        super().__init__(model, options)
        self._precision = _inference_precision(model, options)
        self._device = (options.device or "CPU").upper()
        with self._engine_errors("read"):
            self._network = openvino_core().read_model(model.path)

    @classmethod
    def _find(cls, device: str | None) -> tuple[str, str]:
        openvino = import_engine("openvino")
        version = openvino.__version__.partition("-")[0]
        if device is not None:
            present = openvino_core().available_devices
            kind = device.upper()
            if not any(kind == name or name.startswith(kind + ".") for name in present):
                raise EngineUnavailableError(
                    f"openvino {version} finds no device {device!r} here, only "
                    f"{', '.join(present)}; install that device's driver or choose one of these"
                )
        return version, f"openvino {version} is installed"

    def _compile(self, height: int, width: int) -> Any:
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        settings["INFERENCE_PRECISION_HINT"] = _INFERENCE_PRECISION[self._precision]
        if self.options.threads:
            settings["INFERENCE_NUM_THREADS"] = self.options.threads
        network = self._network.clone()
        if self.model.fixed_size is None:
            network.reshape({"ir": [1, height, width, 1], "vis": [1, height, width, 3]})
        compiled = openvino_core().compile_model(network, self._device, settings)
        return compiled.create_infer_request()

    def _run(self, compiled: Any, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        inputs = {"ir": ir[np.newaxis], "vis": vis[np.newaxis]}
        # No copy here; the output memory is the engine's own.
        return compiled.infer(inputs, share_inputs=True, share_outputs=True)[0][0]

    def _close(self) -> None:
        self._network = None

    def _describe(self) -> dict[str, Any]:
        return {"device": self._device, "inference_precision": self._precision}


def _inference_precision(model: ModelFile, options: BackendOptions) -> str:
    """Return the precision to calculate in, for an int8 file outside its Q/DQ pairs."""
    wanted = options.precision
    if wanted is None or wanted == model.precision:
        return "fp32"
    if wanted == "int8":
        raise ConfigurationError(
            f"expected precision fp32 or bf16 for the {model.precision} model {model.path}, "
            "found int8; open the int8 file of this model instead"
        )
    if wanted == "fp16" and (options.device or "CPU").upper().startswith("CPU"):
        raise ConfigurationError("expected fp32 or bf16 (fast) for OpenVINO on a CPU, found fp16")
    return wanted
