"""Chooses the engine: the named one, or the best available."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from irvis_fusion_core import errors
from irvis_fusion_core.backends.protocol import Availability, Backend, BackendOptions
from irvis_fusion_core.errors import EngineUnavailableError
from irvis_fusion_core.optional_packages import pip_advice

# name -> (module, class); the order is the one of `probe_backends` and of the documentation.
_BACKENDS: dict[str, tuple[str, str]] = {
    "tensorrt": ("irvis_fusion_core.backends.tensorrt", "TensorRtBackend"),
    "tensorrt_rtx": ("irvis_fusion_core.backends.tensorrt", "TensorRtRtxBackend"),
    "torch": ("irvis_fusion_core.backends.torch", "TorchBackend"),
    "openvino": ("irvis_fusion_core.backends.openvino", "OpenVinoBackend"),
    "onnxruntime": ("irvis_fusion_core.backends.onnxruntime", "OnnxRuntimeBackend"),
    "numpy": ("irvis_fusion_core.backends.numpy", "NumpyBackend"),
}
# Engine and device, fastest first, as measured: a GPU before a CPU, and on the CPU OpenVINO before
# ONNX Runtime (two to four times) before torch; NumPy where nothing else is installed.
_AUTO_ORDER = (
    ("tensorrt", "cuda"),
    ("tensorrt_rtx", "cuda"),
    ("torch", "cuda"),
    ("openvino", "cpu"),
    ("onnxruntime", "cpu"),
    ("torch", "cpu"),
    ("numpy", "cpu"),
)


def backend_names() -> list[str]:
    """Return the names that `open_backend` takes, except "auto"."""
    return list(_BACKENDS)


def backend_class(name: str) -> type[Backend]:
    """Return the class of a backend, without importing its engine."""
    errors.expect_one_of("backend", name, ("auto", *_BACKENDS))
    module, attribute = _BACKENDS[name]
    return getattr(importlib.import_module(module), attribute)


def probe_backends() -> list[Availability]:
    """Return whether each engine can run here. Imports the installed ones."""
    return [backend_class(name).probe() for name in _BACKENDS]


def choose_backend(
    name: str = "auto", device: str | None = None
) -> tuple[type[Backend], list[str]]:
    """Pick a backend by name, or the best that can run here.

    Args:
        device: narrows "auto" to backends that can run there ("cpu", "cuda", "cuda:1").

    Returns:
        The class, and for "auto" one line for each better backend that was passed over.

    Raises:
        ConfigurationError: an unknown name.
        EngineUnavailableError: it cannot run here, or with "auto" none can.
    """
    if name != "auto":
        backend = backend_class(name)
        backend.probe(device).require()
        return backend, []
    passed_over: list[str] = []
    for _, backend in _runnable(device, passed_over):
        return backend, passed_over
    raise _nothing_runs(passed_over)


def open_backend(name: str, model_path: str, options: BackendOptions | None = None) -> Backend:
    """Open a model on a backend; with "auto", on the best one that can open it.

    The backend's `passed_over` says why better ones were not taken. Raises as `Backend.open`.
    """
    options = options or BackendOptions()
    if name != "auto":
        return backend_class(name).open(model_path, options)
    passed_over: list[str] = []
    failures: list[Exception] = []
    for label, candidate in _runnable(options.device, passed_over):
        try:
            backend = candidate.open(model_path, options)
        except errors.FusionError as error:
            passed_over.append(f"{label}: {error}")
            failures.append(error)
            continue
        backend.passed_over = passed_over
        return backend
    # Where all engines refuse for the same kind of reason, report that reason.
    if len({type(error) for error in failures}) == 1:
        raise failures[0]
    raise _nothing_runs(passed_over)


def _runnable(device: str | None, passed_over: list[str]) -> Iterator[tuple[str, type[Backend]]]:
    """Yield what can run on `device`, best first; append to `passed_over` why others cannot."""
    wanted = None if device is None else device.lower().partition(":")[0]
    for name, place in _AUTO_ORDER:
        label = f"{name} on {place}"
        if wanted not in (None, place):
            passed_over.append(f"{label}: it runs on {place}, and device {device} was asked for")
            continue
        backend = backend_class(name)
        found = backend.probe(device or place)
        if found.available:
            yield label, backend
        else:
            passed_over.append(f"{label}: {found.reason}")


def _nothing_runs(passed_over: list[str]) -> EngineUnavailableError:
    return EngineUnavailableError(
        "expected at least one inference engine, found none that can run this model here; "
        f"on an x86 CPU openvino is the fastest: {pip_advice('openvino')}. Tried:\n  "
        + "\n  ".join(passed_over)
    )
