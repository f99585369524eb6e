"""Memory, copies, streams and graphs on an NVIDIA GPU, by any of three packages.

TensorRT's Python API takes addresses and a stream, and provides neither. One of these packages is
usually installed: cuda-python (desktop), pycuda (JetPack), torch. All use the primary context of
the device, together with TensorRT. Each call makes it current first, because a node opens a
backend in one thread and runs it in another.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.errors import EngineError, EngineUnavailableError

_INSTALL = "install one with `pip install cuda-python`, `pip install pycuda` or torch for CUDA"


class Buffer(NamedTuple):
    """Bytes on the device and their page-locked twin on the host."""

    host: np.ndarray  # uint8
    address: int  # on the device
    owner: Any  # kept alive as long as the buffer


class CudaMemory(ABC):
    """One device and one stream. `synchronize` waits by a blocking event and uses no core."""

    name = ""
    stream = 0  # the CUDA stream's handle
    errors: tuple[type[BaseException], ...] = ()  # raised by the package
    _stream: Any
    _done: Any  # an event of the package

    @contextlib.contextmanager
    @abstractmethod
    def active(self) -> Iterator[None]:
        """Make the device's primary context current in this thread."""

    @abstractmethod
    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        """Return a uint8 buffer of this shape on host and device."""

    def free(self, buffer: Buffer) -> None:
        """Free both sides; `buffer.host` must not be touched again."""
        return  # freed with the last reference

    @abstractmethod
    def upload(self, buffer: Buffer) -> None:
        """Enqueue the copy from host to device."""

    @abstractmethod
    def download(self, buffer: Buffer) -> None:
        """Enqueue the copy from device to host."""

    def synchronize(self) -> None:
        """Wait until everything enqueued is done."""
        self._done.record(self._stream)
        self._done.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        """Record what `enqueue` enqueues, and return its replay; None without CUDA graphs.

        It must have run once before.
        """
        return None

    def forget(self, replay: Callable[[], None]) -> None:
        """Free a recording of `capture`; other functions are ignored."""
        return  # freed with the last reference

    @abstractmethod
    def close(self) -> None:
        """Free the stream, after the buffers have been freed one by one."""


class CudaPythonMemory(CudaMemory):
    """cuda-python: `cuda.bindings.runtime` (12.6 and newer), `cuda.cudart` before."""

    name = "cuda_python"

    def __init__(self, index: int) -> None:
        try:
            self._cuda = importlib.import_module("cuda.bindings.runtime")
        except ImportError:
            self._cuda = importlib.import_module("cuda.cudart")
        self._index = index
        self._graphs: dict[Callable[[], None], Any] = {}
        with self.active():
            flags = self._cuda.cudaStreamNonBlocking
            self._stream = self._call("cudaStreamCreateWithFlags", flags)
            flags = self._cuda.cudaEventBlockingSync | self._cuda.cudaEventDisableTiming
            self._done = self._call("cudaEventCreateWithFlags", flags)
        self.stream = int(self._stream)

    def _call(self, function: str, *arguments: Any) -> Any:
        status, *results = getattr(self._cuda, function)(*arguments)
        if int(status) != 0:
            raise EngineError(
                f"expected {function} to succeed on CUDA device {self._index}, found {status!s}; "
                "see whether another process has taken the memory (`nvidia-smi`, `tegrastats`)"
            )
        return results[0] if results else None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self._call("cudaSetDevice", self._index)
        yield

    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        size = int(np.prod(shape))
        pointer = self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault)
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(pointer)))
        return Buffer(host.reshape(shape), int(self._call("cudaMalloc", size)), pointer)

    def free(self, buffer: Buffer) -> None:
        self._call("cudaFree", buffer.address)
        self._call("cudaFreeHost", buffer.owner)

    def upload(self, buffer: Buffer) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(buffer.address, buffer.owner, buffer.host.nbytes, kind)

    def download(self, buffer: Buffer) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(buffer.owner, buffer.address, buffer.host.nbytes, kind)

    def _copy(self, target: Any, source: Any, size: int, kind: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def synchronize(self) -> None:
        self._call("cudaEventRecord", self._done, self._stream)
        self._call("cudaEventSynchronize", self._done)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            enqueue()
        finally:  # a stream left in capture refuses all other work
            graph = self._call("cudaStreamEndCapture", self._stream)
        # cudaGraphInstantiate changed its arguments in CUDA 12; this one is the same from 11.4 on.
        executable = self._call("cudaGraphInstantiateWithFlags", graph, 0)
        self._call("cudaGraphDestroy", graph)

        def replay() -> None:
            self._call("cudaGraphLaunch", executable, self._stream)

        self._graphs[replay] = executable
        return replay

    def forget(self, replay: Callable[[], None]) -> None:
        if replay in self._graphs:
            self._call("cudaGraphExecDestroy", self._graphs.pop(replay))

    def close(self) -> None:
        with self.active():
            for replay in list(self._graphs):
                self.forget(replay)
            self._call("cudaEventDestroy", self._done)
            self._call("cudaStreamDestroy", self._stream)


class PycudaMemory(CudaMemory):
    """pycuda with the primary context (`autoinit` makes one of the importing thread); no graph."""

    name = "pycuda"

    def __init__(self, index: int) -> None:
        import pycuda.driver as driver

        try:
            driver.init()
            self._context = driver.Device(index).retain_primary_context()
        except driver.Error as error:
            raise EngineUnavailableError(f"no CUDA device {index} for pycuda: {error}") from error
        self._driver = driver
        self.errors = (driver.Error,)
        with self.active():
            self._stream = driver.Stream()
            flags = driver.event_flags.BLOCKING_SYNC | driver.event_flags.DISABLE_TIMING
            self._done = driver.Event(flags)
        self.stream = int(self._stream.handle)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        host = self._driver.pagelocked_empty(shape, np.uint8)
        device = self._driver.mem_alloc(host.nbytes)
        return Buffer(host, int(device), (device, host.base))  # the base is the allocation

    def free(self, buffer: Buffer) -> None:
        device, host = buffer.owner
        device.free()
        host.free()

    def upload(self, buffer: Buffer) -> None:
        self._driver.memcpy_htod_async(buffer.address, buffer.host, self._stream)

    def download(self, buffer: Buffer) -> None:
        self._driver.memcpy_dtoh_async(buffer.host, buffer.address, self._stream)

    def close(self) -> None:
        with self.active():
            self._done = self._stream = None
        self._context.detach()


class TorchMemory(CudaMemory):
    """torch for CUDA, used as an allocator."""

    name = "torch"
    errors = (RuntimeError,)

    def __init__(self, index: int) -> None:
        import torch

        if not torch.cuda.is_available():
            raise EngineUnavailableError(
                f"expected torch with CUDA, found torch {torch.__version__} without; {_INSTALL}"
            )
        self._torch = torch
        self._device = torch.device("cuda", index)
        with self.active():
            self._stream = torch.cuda.Stream(self._device)
            self._done = torch.cuda.Event(blocking=True)
        self.stream = int(self._stream.cuda_stream)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        # The primary context becomes current with the first CUDA call of the thread.
        with self._torch.cuda.device(self._device):
            self._torch.cuda.current_blas_handle()
            yield

    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        host = self._torch.empty(shape, dtype=self._torch.uint8, pin_memory=True)
        device = self._torch.empty(shape, dtype=self._torch.uint8, device=self._device)
        return Buffer(host.numpy(), int(device.data_ptr()), (host, device))

    def upload(self, buffer: Buffer) -> None:
        host, device = buffer.owner
        with self._torch.cuda.stream(self._stream):
            device.copy_(host, non_blocking=True)

    def download(self, buffer: Buffer) -> None:
        host, device = buffer.owner
        with self._torch.cuda.stream(self._stream):
            host.copy_(device, non_blocking=True)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph, stream=self._stream):
            enqueue()

        def replay() -> None:
            with self._torch.cuda.stream(self._stream):
                graph.replay()

        return replay

    def close(self) -> None:
        self._torch.cuda.empty_cache()


_PACKAGES = {
    "cuda_python": ("cuda", CudaPythonMemory),
    "pycuda": ("pycuda.driver", PycudaMemory),
    "torch": ("torch", TorchMemory),
}  # in order of preference: graphs and light, no graphs, heavy


def open_cuda_memory(name: str, index: int) -> CudaMemory:
    """Open a GPU's memory with a package; "auto" takes the first that works.

    Raises:
        EngineUnavailableError: the package is not installed, or cannot use the GPU.
    """
    failures = []
    for package in _PACKAGES if name == "auto" else (name,):
        module, memory_class = _PACKAGES[package]
        try:
            importlib.import_module(module)
            return memory_class(index)
        except (ImportError, EngineError, EngineUnavailableError) as error:
            failures.append(f"{package}: {error}")
    raise EngineUnavailableError(
        "expected a package that gives memory on the GPU, found none; "
        f"{_INSTALL}. Tried: {'; '.join(failures)}"
    )


def installed_packages() -> list[str]:
    """Return the installed packages without importing them; they may still find no GPU."""
    return [
        name
        for name, (module, _) in _PACKAGES.items()
        if importlib.util.find_spec(module.partition(".")[0]) is not None
    ]
