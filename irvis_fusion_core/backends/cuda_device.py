"""Finds NVIDIA GPUs by asking the driver.

Importing torch takes seconds, and other CUDA packages may not be installed. The driver's library
is present wherever a GPU can be used, and answers in milliseconds without creating a context.
https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple

_COMPUTE_CAPABILITY_MAJOR = 75  # CUdevice_attribute
_COMPUTE_CAPABILITY_MINOR = 76
_NAME_BYTES = 256


class Gpu(NamedTuple):
    """One CUDA device."""

    ordinal: int
    name: str
    compute_capability: tuple[int, int]

    @property
    def capability(self) -> str:
        """The compute capability as text, such as "8.6"."""
        return version_text(self.compute_capability)


def version_text(numbers: tuple[int, int]) -> str:
    """Return "8.6" for (8, 6)."""
    return ".".join(str(number) for number in numbers)


def find_gpu(index: int = 0) -> tuple[Gpu | None, str]:
    """Return the GPU with this number, or None, and the reason why it cannot be used."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None, f"there is no NVIDIA driver here ({library} was not found)"
    return ask_driver(driver, index)


def ask_driver(driver: Any, index: int) -> tuple[Gpu | None, str]:
    """As `find_gpu`, with a loaded CUDA driver library."""
    status = driver.cuInit(0)
    if status != 0:
        return None, f"the NVIDIA driver does not start (cuInit returned CUDA error {status})"
    count = ctypes.c_int()
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or index >= count.value:
        return None, f"CUDA device {index} was asked for, and the driver has {count.value}"
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    for status in (
        driver.cuDeviceGet(ctypes.byref(device), index),
        driver.cuDeviceGetName(name, _NAME_BYTES, device),
        driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device),
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device),
    ):
        if status != 0:
            return None, f"the driver cannot describe CUDA device {index} (CUDA error {status})"
    return Gpu(index, name.value.decode("utf-8", "replace"), (major.value, minor.value)), "found"
