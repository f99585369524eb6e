"""Imports packages that are not always installed, and says how to install them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
import threading
from importlib import metadata
from typing import Any

from irvis_fusion_core.errors import EngineUnavailableError

_PIP_NAMES = {
    "tensorrt_rtx": "tensorrt-rtx-cu13 cuda-python",
    "onnxruntime.quantization": "onnxruntime onnx",
    "torch": "torch safetensors",
}
_OTHER_NAMES = {
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "rclpy": ("ros-jazzy-rclpy",),
}
"""Of packages whose metadata have another name than the module."""
_INSTALL_TENSORRT = (
    "on a Jetson it comes with JetPack (`apt install python3-libnvinfer`), "
    "elsewhere `pip install tensorrt`"
)


def pip_advice(packages: str) -> str:
    """Return how to install `packages` into the Python that runs now."""
    advice = f"`{sys.executable} -m pip install {packages}`"
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix == sys.base_prefix and os.path.exists(marker):  # PEP 668
        return (
            "this Python takes no packages from pip: make a virtual environment with "
            f"--system-site-packages (docs/install.md), and there `pip install {packages}`"
        )
    return advice


def import_engine(module: str) -> Any:
    """Import an engine's module.

    OpenVINO is imported without its telemetry: nothing of ours contacts a network host.

    Raises:
        EngineUnavailableError: it is not installed, or its libraries do not load.
    """
    if module.partition(".")[0] == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        advice = _INSTALL_TENSORRT
        if module != "tensorrt":
            advice = "install it: " + pip_advice(_PIP_NAMES.get(module, module))
        raise EngineUnavailableError(f"{module} cannot be imported ({error}); {advice}") from error


def installed_version(module: str) -> str | None:
    """Return the version of a package by its import name, None if it is missing.

    The package is imported only if its metadata has no version.
    """
    try:
        if importlib.util.find_spec(module) is None:
            return None
    except ImportError:  # a parent package is missing or broken
        return None
    for name in (
        module.partition(".")[0],
        module.replace(".", "-"),
        *_OTHER_NAMES.get(module, ()),
    ):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    try:
        return str(getattr(import_engine(module), "__version__", "present"))
    except EngineUnavailableError as error:
        return f"present, but cannot be imported: {error}"


_CORE_LOCK = threading.Lock()


def openvino_core() -> Any:
    """Return the one OpenVINO core of this process.

    Its CPU plugin gives the thread that loads it a stack for signals, and frees that stack on
    whichever thread drops the last core. The next signal to the first thread, such as Ctrl-C,
    would then be a segmentation fault. So the core stays until the process ends.

    Raises:
        EngineUnavailableError: OpenVINO is not installed, or its libraries do not load.
    """
    with _CORE_LOCK:  # the cache alone would let two threads make one each
        return _new_core()


@functools.lru_cache(maxsize=None)
def _new_core() -> Any:
    return import_engine("openvino").Core()
