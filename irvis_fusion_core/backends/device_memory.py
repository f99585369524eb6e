"""The contract between TensorRT and whatever gives memory, copies and graphs on the GPU."""

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
    owner: Any  # whatever must live as long as the buffer


class CudaMemory(ABC):
    """One device and one stream. All work is enqueued on the stream; `synchronize` waits for it
    without spinning (a blocking event), which spares a core on a robot.
    """

    name = ""
    stream = 0  # the CUDA stream's handle
    errors: tuple[type[BaseException], ...] = ()  # what the package raises beside EngineError

    @contextlib.contextmanager
    @abstractmethod
    def active(self) -> Iterator[None]:
        """Make the device's primary context current in this thread."""

    @abstractmethod
    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        """A uint8 buffer of this shape on host and device."""

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
        """Record what `enqueue` enqueues; return what replays it, or None where the package has
        no CUDA graphs. The work must have run once before.
        """

    @abstractmethod
    def forget(self, replay: Callable[[], None]) -> None:
        """Free what `capture` recorded; anything else is ignored."""

    @abstractmethod
    def close(self) -> None:
        """Free the stream and what is left. Buffers are freed one by one, before."""
