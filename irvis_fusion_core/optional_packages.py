"""Imports packages that are not always installed, and says how to install them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from irvis_fusion_core.errors import EngineUnavailableError

_EXTRAS = {"tensorrt_rtx": "rtx", "onnxruntime": "onnx", "onnxruntime.quantization": "onnx"}
_INSTALL_TENSORRT = (
    "on a Jetson it comes with JetPack (`apt install python3-libnvinfer`), "
    "elsewhere `pip install tensorrt`"
)


def import_engine(module: str, extra: str | None = None) -> Any:
    """Import an engine's module; `extra` of our package installs it, by default its namesake.

    OpenVINO is imported without its telemetry: nothing of ours contacts a network host.

    Raises:
        EngineUnavailableError: it is not installed, or its libraries do not load.
    """
    if module.partition(".")[0] == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        extra = extra or _EXTRAS.get(module, module)
        advice = f"install it with `pip install irvis_fusion[{extra}]`"
        advice = _INSTALL_TENSORRT if module == "tensorrt" else advice
        raise EngineUnavailableError(f"{module} cannot be imported ({error}); {advice}") from error
