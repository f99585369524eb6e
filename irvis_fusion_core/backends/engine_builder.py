"""Builds the TensorRT engine of one model, frame size and GPU into the cache."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from irvis_fusion_core import errors
from irvis_fusion_core.backends import tensorrt_network
from irvis_fusion_core.backends.cuda_device import Gpu, find_gpu, version_text
from irvis_fusion_core.backends.cuda_memory import open_cuda_memory
from irvis_fusion_core.backends.engine_cache import EngineCache, EngineKey
from irvis_fusion_core.backends.model_file import ModelFile, read_model_file
from irvis_fusion_core.backends.protocol import BackendOptions
from irvis_fusion_core.backends.tensorrt_network import builds_without_gpu, serialize_network
from irvis_fusion_core.optional_packages import import_engine

PROGRESS_INTERVAL_S = 5.0
BUILDER_REVISION = 1  # increase it when a change here makes different engines

_MODULES = ("tensorrt", "tensorrt_rtx")
_logger = logging.getLogger(__name__)


class BuiltEngine(NamedTuple):
    """An engine on disk."""

    path: str
    key: EngineKey
    built: bool  # False: it was in the cache already
    reason: str  # why it was built, or that it was found
    build_seconds: float


def engine_key(trt: Any, model: ModelFile, height: int, width: int, gpu: Gpu) -> EngineKey:
    """Return what the engine of this model, size and GPU depends on."""
    return EngineKey(
        model=os.path.splitext(os.path.basename(model.path))[0],
        onnx_sha256=model.sha256,
        engine_module=trt.__name__,
        engine_version=trt.__version__,
        # TensorRT for RTX compiles for the GPU when it first runs: its engines fit all GPUs of one
        # compute capability, and the robot finds an engine that was built without a GPU.
        gpu="any" if builds_without_gpu(trt) else gpu.name,
        compute_capability=gpu.capability,
        precision=model.precision,
        height=height,
        width=width,
        options={
            "builder_revision": BUILDER_REVISION,
            "strongly_typed": tensorrt_network.is_strongly_typed(trt),
        },
    )


def build_engine(
    onnx_path: str,
    height: int,
    width: int,
    options: BackendOptions | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    engine: str = "auto",
    compute_capability: tuple[int, int] | None = None,
) -> BuiltEngine:
    """Build the engine of one model and frame size into the cache, unless it is there.

    Args:
        onnx_path: one of our ONNX models; its precision is the engine's.
        options: `cache_dir`, `device` and `cuda_memory` matter here.
        progress: called with a line every 5 s; None writes the lines to the log.
        engine: tensorrt, tensorrt_rtx, or auto (the first that can build here).
        compute_capability: such as (8, 6), to build for an absent GPU (tensorrt_rtx only);
            None is the GPU of `options.device`.

    Raises:
        ModelError, ConfigurationError: as `Backend.open`.
        EngineUnavailableError: TensorRT is not installed, or there is no GPU to build for.
        EngineError: TensorRT does not accept the model, or the engine cannot be written.
    """
    options = options or BackendOptions()
    model = read_model_file(onnx_path)
    if model.fixed_size not in (None, (height, width)):
        raise errors.ConfigurationError(
            f"expected height and width {model.fixed_size}, the only size of {onnx_path}, found "
            f"{(height, width)}; name that size or export the model with a dynamic size"
        )
    trt, gpu = _choose_builder(engine, options, compute_capability)
    cache = EngineCache(options.cache_dir)
    key = engine_key(trt, model, height, width, gpu)
    path, (found, reason) = cache.path(key), cache.load(key)
    if found is not None:
        return BuiltEngine(path, key, False, reason, 0.0)
    progress = progress or options.progress or _logger.info
    with _on_device(trt, options):
        _, seconds = build_into_cache(trt, model, key, cache, reason, progress)
    if not os.path.exists(path):
        raise errors.EngineError(
            f"expected to keep the engine as {path}, found that it cannot be written; "
            "free space on the disk, or give another cache_dir"
        )
    return BuiltEngine(path, key, True, reason, seconds)


def build_into_cache(
    trt: Any,
    model: ModelFile,
    key: EngineKey,
    cache: EngineCache,
    reason: str,
    progress: Callable[[str], None],
) -> tuple[bytes, float]:
    """Build and keep an engine; return it and the seconds it took."""
    what = f"the {trt.__name__} engine of {key.model} for {key.width}x{key.height}"
    progress(f"building {what}, because {reason}")
    timing_name = f"timing_{key.engine_module}_{key.engine_version}_{key.compute_capability}.cache"
    started = time.monotonic()
    with _say_still_building(what, progress):
        engine, timing = serialize_network(trt, model, key, cache.load_blob(timing_name))
    seconds = time.monotonic() - started
    progress(f"built {what} in {seconds:.0f} s")
    if timing:
        keep_blob(cache, timing_name, timing, progress)
    try:
        progress(f"kept it as {cache.store(key, engine, seconds, reason)}")
    except OSError as error:  # a full or read-only disk must not stop the robot
        progress(f"cannot keep {what} ({error}); the next start will build it again")
    return engine, seconds


def keep_blob(cache: EngineCache, name: str, blob: bytes, progress: Callable[[str], None]) -> None:
    """Keep a cache that only saves time; report it when that fails."""
    try:
        cache.store_blob(name, blob)
    except OSError as error:
        progress(f"cannot keep {name} in {cache.directory} ({error}); the next start takes longer")


@contextlib.contextmanager
def _say_still_building(what: str, progress: Callable[[str], None]) -> Iterator[None]:
    """Report every few seconds: a first build takes minutes, and silence looks like a hang."""
    finished = threading.Event()
    started = time.monotonic()

    def speak() -> None:
        while not finished.wait(PROGRESS_INTERVAL_S):
            progress(f"still building {what}, {time.monotonic() - started:.0f} s so far")

    speaker = threading.Thread(target=speak, name="engine-build-progress", daemon=True)
    speaker.start()
    try:
        yield
    finally:
        finished.set()
        speaker.join()


@contextlib.contextmanager
def _on_device(trt: Any, options: BackendOptions) -> Iterator[None]:
    """Make the CUDA device current on which TensorRT measures; TensorRT for RTX needs none."""
    if builds_without_gpu(trt):
        yield
        return
    memory = open_cuda_memory(options.cuda_memory, options.cuda_index() or 0)
    try:
        with memory.active():
            yield
    finally:
        memory.close()


def _choose_builder(
    engine: str, options: BackendOptions, compute_capability: tuple[int, int] | None
) -> tuple[Any, Gpu]:
    """Return the TensorRT module to build with and the GPU to build for."""
    errors.expect_one_of("engine", engine, ("auto", *_MODULES))
    index = options.cuda_index()
    if index is None:
        raise errors.ConfigurationError(
            f"expected a CUDA device to build an engine for, found {options.device!r}"
        )
    refusals = []
    for module in _MODULES if engine == "auto" else (engine,):
        try:
            trt = import_engine(module)
            return trt, _target(trt, index, compute_capability)
        except errors.EngineUnavailableError as error:
            refusals.append(f"{module}: {error}")
    raise errors.EngineUnavailableError(
        "expected a TensorRT that can build here, found none. " + "; ".join(refusals)
    )


def _target(trt: Any, index: int, compute_capability: tuple[int, int] | None) -> Gpu:
    if compute_capability is None:
        gpu, reason = find_gpu(index)
        if gpu is None:
            raise errors.EngineUnavailableError(
                f"{reason}; run on the robot, or name a compute capability for tensorrt_rtx"
            )
    elif builds_without_gpu(trt):
        gpu = Gpu(index, "any", compute_capability)
    else:
        raise errors.EngineUnavailableError(
            f"{trt.__name__} builds only for the GPU it runs on, and compute capability "
            f"{version_text(compute_capability)} was asked for; build there, or by tensorrt_rtx"
        )
    tensorrt_network.require_support(trt, gpu)
    return gpu
