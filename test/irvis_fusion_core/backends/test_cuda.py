"""Finding a GPU and its memory: on stand-ins for the driver, and for real where it is there."""

import sys

import numpy as np
import pytest

from irvis_fusion_core.backends.cuda_device import Gpu, ask_driver, find_gpu
from irvis_fusion_core.backends.cuda_memory import installed_packages, open_cuda_memory
from irvis_fusion_core.errors import EngineUnavailableError

PACKAGES = ["cuda_python", "pycuda", "torch"]


class Driver:
    """libcuda with two GPUs; `fails` names the function that returns an error."""

    names = (b"Orin", b"NVIDIA RTX 4090")
    capabilities = ((8, 7), (8, 9))

    def __init__(self, fails=None):
        self.fails = fails

    def _status(self, function):
        return 100 if function == self.fails else 0

    def cuInit(self, flags):  # noqa: N802 (the driver's own names)
        return self._status("cuInit")

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.names)
        return self._status("cuDeviceGetCount")

    def cuDeviceGet(self, device, index):  # noqa: N802
        device._obj.value = index
        return self._status("cuDeviceGet")

    def cuDeviceGetName(self, name, size, device):  # noqa: N802
        name.value = self.names[device.value]
        return self._status("cuDeviceGetName")

    def cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = self.capabilities[device.value][{75: 0, 76: 1}[attribute]]
        return self._status("cuDeviceGetAttribute")


def test_asks_the_driver():
    assert ask_driver(Driver(), 0)[0] == Gpu(0, "Orin", (8, 7))
    gpu = ask_driver(Driver(), 1)[0]
    assert gpu == Gpu(1, "NVIDIA RTX 4090", (8, 9)) and gpu.capability == "8.9"


def test_says_why_there_is_none():
    gpu, reason = ask_driver(Driver(), 2)
    assert gpu is None and reason == "CUDA device 2 was asked for, and the driver has 2"
    gpu, reason = ask_driver(Driver("cuInit"), 0)
    assert gpu is None and "does not start" in reason and "100" in reason


@pytest.mark.parametrize(
    "function", ["cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"]
)
def test_a_driver_that_fails_is_no_gpu(function):
    assert ask_driver(Driver(function), 0)[0] is None


def test_no_package_at_all(monkeypatch):
    for module in ("cuda", "pycuda", "pycuda.driver", "torch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineUnavailableError, match="pip install cuda-python"):
        open_cuda_memory("auto", 0)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.skipif(find_gpu()[0] is not None, reason="there is a GPU here")
def test_without_a_gpu_each_package_says_so(package):
    with pytest.raises(EngineUnavailableError, match=f"found none.*{package}: "):
        open_cuda_memory(package, 0)


@pytest.mark.gpu
@pytest.mark.parametrize("package", PACKAGES)
def test_copies_there_and_back(package):
    if package not in installed_packages():
        pytest.skip(f"{package} is not installed")
    memory = open_cuda_memory(package, 0)
    with memory.active():
        buffer = memory.allocate((3, 5))
        expected = np.arange(15, dtype=np.uint8).reshape(3, 5)
        buffer.host[:] = expected
        memory.upload(buffer)
        memory.synchronize()
        buffer.host[:] = 0
        replay = memory.capture(lambda: memory.download(buffer))
        if replay is None:
            memory.download(buffer)
        else:
            replay()
        memory.synchronize()
        np.testing.assert_array_equal(buffer.host, expected)
        if replay is not None:
            memory.forget(replay)
        memory.free(buffer)
    memory.close()
