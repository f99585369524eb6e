"""TensorRT (Jetson, desktop) and TensorRT for RTX: one engine for each frame size.

The named-tensor API, the same from 8.5 to 11. A frame is copied into page-locked memory, three
asynchronous steps (copy, engine, copy) are enqueued or replayed as one CUDA graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irvis_fusion_core.backends.cuda_device import Gpu, find_gpu
from irvis_fusion_core.backends.cuda_memory import Buffer, installed_packages, open_cuda_memory
from irvis_fusion_core.backends.engine_builder import build_into_cache, engine_key, keep_blob
from irvis_fusion_core.backends.engine_cache import EngineCache, EngineKey
from irvis_fusion_core.backends.model_file import CHANNELS, ModelFile
from irvis_fusion_core.backends.protocol import Backend, BackendOptions
from irvis_fusion_core.backends.tensorrt_network import make_logger, require_support
from irvis_fusion_core.errors import EngineError, EngineUnavailableError
from irvis_fusion_core.optional_packages import import_engine

_logger = logging.getLogger(__name__)


def _nothing() -> None:
    """Enqueue nothing: `_record` has not run yet."""


@dataclass
class _CompiledSize:
    """An engine ready to run: its memory, and how to enqueue a frame."""

    engine: Any
    context: Any
    reason: str  # why the engine was built, or that it was found
    buffers: dict[str, Buffer] = field(default_factory=dict)
    enqueue: Callable[[], None] = _nothing
    as_graph: bool = False


class TensorRtBackend(Backend):
    """Builds on first use of a size unless the engine is in the cache; see `build_engine`."""

    name = "tensorrt"
    reuses_result = True

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        super().__init__(model, options)
        self._require_model_precision()
        self._trt, self._gpu = self._look(options.device)
        self._cache = EngineCache(options.cache_dir)
        self._memory = open_cuda_memory(options.cuda_memory, self._gpu.ordinal)
        self.failures = self._memory.errors
        with self._memory.active():
            self._logger = make_logger(self._trt)
            self._runtime = self._trt.Runtime(self._logger)

    @classmethod
    def _find(cls, device: str | None) -> tuple[str, str]:
        trt, gpu = cls._look(device)
        return trt.__version__, f"{cls.name} {trt.__version__} on {gpu.name}"

    @classmethod
    def _look(cls, device: str | None) -> tuple[Any, Gpu]:
        """Return the module and the GPU; raise EngineUnavailableError where one is missing."""
        index = BackendOptions(device=device).cuda_index()
        if index is None:
            raise EngineUnavailableError(
                f"{cls.name} runs on cuda only, and device {device!r} was asked for"
            )
        trt = import_engine(cls.name)
        gpu, reason = find_gpu(index)
        if gpu is None:
            raise EngineUnavailableError(reason)
        require_support(trt, gpu)
        if not installed_packages():
            raise EngineUnavailableError(
                "no package gives memory on the GPU; install cuda-python, pycuda or torch"
            )
        return trt, gpu

    def _compile(self, height: int, width: int) -> _CompiledSize:
        key = engine_key(self._trt, self.model, height, width, self._gpu)
        with self._memory.active():
            engine, reason = self._load_or_build(key)
            context, save_kernels = self._create_context(engine, key)
            compiled = _CompiledSize(engine, context, reason)
            try:
                for name, channels in CHANNELS.items():
                    shape = (1, height, width, channels)
                    compiled.buffers[name] = self._memory.allocate(shape)
                    if name != "fused" and not context.set_input_shape(name, shape):
                        raise EngineError(self._failure(f"take {name} as {shape} for"))
                    context.set_tensor_address(name, compiled.buffers[name].address)
                self._record(compiled)
            except BaseException:
                self._release(compiled)
                raise
            save_kernels()
        return compiled

    def _load_or_build(self, key: EngineKey) -> tuple[Any, str]:
        """Return the engine of a size and why it was built; a cached one may not load."""
        serialized, reason = self._cache.load(key)
        if serialized is not None:
            engine = self._runtime.deserialize_cuda_engine(serialized)
            if engine is not None:
                return engine, reason
            # TensorRT does not raise: it returns None and logs the reason.
            reason = "TensorRT refused the cached engine: " + self._errors()
        serialized, _ = build_into_cache(
            self._trt, self.model, key, self._cache, reason, self.options.progress or _logger.info
        )
        engine = self._runtime.deserialize_cuda_engine(serialized)
        if engine is None:
            raise EngineError(self._failure("load the engine that it has just built for"))
        return engine, reason

    def _create_context(self, engine: Any, key: EngineKey) -> tuple[Any, Callable[[], None]]:
        """Return an execution context, and a function that keeps its kernels after the first run.

        TensorRT for RTX compiles them on the first run; TensorRT has them in the engine.
        """
        config: Any = getattr(engine, "create_runtime_config", lambda: None)()
        kernels = getattr(config, "create_runtime_cache", lambda: None)()
        name = key.file_name() + ".runtime_cache"
        known = None if kernels is None else self._cache.load_blob(name)
        if kernels is None:
            context = engine.create_execution_context()
        else:
            if known is not None:
                kernels.deserialize(known)  # refuses what another driver or GPU wrote
            config.set_runtime_cache(kernels)
            context = engine.create_execution_context(config)
        if context is None:
            raise EngineError(self._failure("make an execution context (out of memory?) for"))

        def save_kernels() -> None:
            if kernels is not None:
                now = bytes(kernels.serialize())
                if now != known:
                    keep_blob(self._cache, name, now, self.options.progress or _logger.warning)

        return context, save_kernels

    def _record(self, compiled: _CompiledSize) -> None:
        """Run a frame, then record the next ones as a CUDA graph where possible."""
        memory, context, buffers = self._memory, compiled.context, compiled.buffers

        def enqueue() -> None:
            memory.upload(buffers["ir"])
            memory.upload(buffers["vis"])
            if not context.execute_async_v3(memory.stream):
                raise EngineError(self._failure("run the engine of"))
            memory.download(buffers["fused"])

        # The first run allocates and, with TensorRT for RTX, compiles: it is not recorded.
        enqueue()
        memory.synchronize()
        compiled.enqueue = enqueue
        capturable = getattr(context, "is_stream_capturable", None)
        if not self.options.cuda_graph or (capturable and not capturable(memory.stream)):
            return
        replay = memory.capture(enqueue)
        if replay is not None:
            compiled.enqueue, compiled.as_graph = replay, True

    def _run(self, compiled: _CompiledSize, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        buffers = compiled.buffers
        buffers["ir"].host[0] = ir
        buffers["vis"].host[0] = vis
        with self._memory.active():
            compiled.enqueue()
            self._memory.synchronize()
        return buffers["fused"].host[0]

    def _release(self, compiled: _CompiledSize) -> None:
        with self._memory.active():
            self._memory.forget(compiled.enqueue)
            compiled.enqueue = _nothing
            # The context before its engine, and both while their device is current.
            compiled.context = compiled.engine = None
            while compiled.buffers:
                self._memory.free(compiled.buffers.popitem()[1])

    def _close(self) -> None:
        with self._memory.active():
            self._runtime = None
        self._memory.close()

    def _describe(self) -> dict[str, Any]:
        compiled = list(self._compiled.values())
        return {
            "device": self._gpu.name,
            "compute_capability": self._gpu.capability,
            "cuda_memory": self._memory.name,
            "cuda_graph": bool(compiled) and all(each.as_graph for each in compiled),
            "cache_dir": self._cache.directory,
            "engine_reasons": [each.reason for each in compiled],
        }

    def _errors(self) -> str:
        """Return and clear the errors that TensorRT has logged."""
        errors = "; ".join(self._logger.errors) or "no reason given"
        del self._logger.errors[:]
        return errors

    def _failure(self, action: str, found: str = "") -> str:
        found = f"{found}; {self._errors()}" if found else self._errors()
        return (
            f"expected {self.name} {self.version} on {self._gpu.name} to {action} "
            f"{self.model.path}, found: {found}; free memory, delete "
            f"{self._cache.directory}, or choose another backend"
        )


class TensorRtRtxBackend(TensorRtBackend):
    """TensorRT for RTX: the same API, for GeForce and RTX boards."""

    name = "tensorrt_rtx"
