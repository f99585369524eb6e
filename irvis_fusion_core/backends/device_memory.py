"""The interface of packages that provide memory, copies and graphs on the GPU for TensorRT."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


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

    @contextlib.contextmanager
    @abstractmethod
    def active(self) -> Iterator[None]:
        """Make the device's primary context current in this thread."""

    @abstractmethod
    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        """Return a uint8 buffer of this shape on host and device."""

    @abstractmethod
    def free(self, buffer: Buffer) -> None:
        """Free both sides; `buffer.host` must not be touched again."""

    @abstractmethod
    def upload(self, buffer: Buffer) -> None:
        """Enqueue the copy from host to device."""

    @abstractmethod
    def download(self, buffer: Buffer) -> None:
        """Enqueue the copy from device to host."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything enqueued is done."""

    @abstractmethod
    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        """Record the work that `enqueue` enqueues, which must have run once before.

        Returns:
            A function that replays it, or None where the package has no CUDA graphs.
        """

    @abstractmethod
    def forget(self, replay: Callable[[], None]) -> None:
        """Free a recording of `capture`; other functions are ignored."""

    @abstractmethod
    def close(self) -> None:
        """Free the stream, after the buffers have been freed one by one."""
