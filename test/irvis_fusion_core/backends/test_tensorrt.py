"""The TensorRT life cycle on a stand-in for the library and the GPU.

There may be no GPU where tests run, so this covers the logic alone: what is built, kept, loaded,
refused and freed. The stand-in "engine" is a text that names the size, and runs the numpy network.
What the real library accepts is tested in test_engine_builder.py, and on a GPU below.
"""

import contextlib
import enum
import json
import os
import sys
import types

import numpy as np
import pytest

from irvis_fusion_core.backends import BackendOptions, engine_builder, open_backend
from irvis_fusion_core.backends import tensorrt as tensorrt_backend
from irvis_fusion_core.backends.cuda_device import Gpu
from irvis_fusion_core.backends.cuda_memory import Buffer, CudaMemory
from irvis_fusion_core.errors import ConfigurationError, EngineError, EngineUnavailableError

ORIN = Gpu(0, "Orin", (8, 7))


class FakeMemory(CudaMemory):
    """The host as the device; `active` and frees are counted."""

    name = "fake"
    stream = 7

    def __init__(self, graphs=True):
        self.graphs = graphs
        self.arrays = {}  # address -> array on the "device"
        self.depth = 0
        self.replays = 0
        self.closed = False

    @contextlib.contextmanager
    def active(self):
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def allocate(self, shape):
        array = np.zeros(shape, np.uint8)
        self.arrays[id(array)] = array
        return Buffer(np.zeros(shape, np.uint8), id(array), None)

    def free(self, buffer):
        del self.arrays[buffer.address]

    def upload(self, buffer):
        self.arrays[buffer.address][:] = buffer.host

    def download(self, buffer):
        buffer.host[:] = self.arrays[buffer.address]

    def synchronize(self):
        assert self.depth == 1, "the device must be current in the calling thread"

    def capture(self, enqueue):
        if not self.graphs:
            return None

        def replay():
            self.replays += 1
            enqueue()

        return replay

    def forget(self, replay):
        """It holds nothing."""

    def close(self):
        assert not self.arrays, "buffers are freed before"
        self.closed = True


class FakeTensorRt(types.ModuleType):
    """What this project uses of the module, recording what was asked for."""

    def __init__(self, name, memory, fuse, version="10.3.0", flags=("STRONGLY_TYPED",)):
        super().__init__(name)
        self.__version__ = version
        self.builds = []
        self.refuse = 0  # how many of the next deserializations return None
        self.NetworkDefinitionCreationFlag = enum.IntEnum(
            "Flag", {flag: i for i, flag in enumerate(flags)}
        )
        trt = self

        class ILogger:
            Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO"])

            def __init__(self):
                pass

        class Runtime:
            def __init__(self, logger):
                self.logger = logger

            def deserialize_cuda_engine(self, serialized):
                assert memory.depth == 1
                if trt.refuse:
                    trt.refuse -= 1
                    self.logger.log(ILogger.Severity.ERROR, "version tag does not match")
                    return None
                return Engine(json.loads(serialized))

        class Engine:
            def __init__(self, size):
                self.size = size

            def create_execution_context(self):
                return Context(self.size)

        class Context:
            def __init__(self, size):
                self.size = size
                self.tensors = {}

            def set_input_shape(self, name, shape):
                return list(shape[1:3]) == self.size

            def set_tensor_address(self, name, address):
                self.tensors[name] = memory.arrays[address]

            def execute_async_v3(self, stream):
                assert stream == memory.stream
                self.tensors["fused"][0] = fuse(self.tensors["ir"][0], self.tensors["vis"][0])
                return not trt.fails

        self.fails = False
        self.ILogger = ILogger
        self.Runtime = Runtime

    def serialize(self, trt, model, key, timing):
        """In the place of `serialize_network`."""
        self.builds.append((key.width, key.height, timing))
        return json.dumps([key.height, key.width]).encode(), b"timings"


@pytest.fixture
def robot(monkeypatch, tmp_path, reference_fuse):
    """Makes a backend on an Orin with TensorRT; returns it with its stand-ins."""
    lines = []

    def make(path, graphs=True, version="10.3.0", gpu=ORIN, **options):
        memory = FakeMemory(graphs)
        trt = FakeTensorRt("tensorrt", memory, reference_fuse, version)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        monkeypatch.setattr(tensorrt_backend, "find_gpu", lambda index: (gpu, "no driver"))
        monkeypatch.setattr(tensorrt_backend, "installed_packages", lambda: ["fake"])
        monkeypatch.setattr(tensorrt_backend, "open_cuda_memory", lambda name, index: memory)
        monkeypatch.setattr(engine_builder, "serialize_network", trt.serialize)
        options.setdefault("cache_dir", str(tmp_path / "engines"))
        backend = open_backend("tensorrt", path, BackendOptions(progress=lines.append, **options))
        return backend, trt, memory

    make.lines = lines
    return make


@pytest.mark.parametrize("graphs", [True, False])
def test_builds_runs_and_frees(robot, write_model, pair, reference_fuse, graphs):
    backend, trt, memory = robot(write_model(), graphs)
    for seed in (1, 2, 3):
        ir, vis = pair(48, 70, seed)
        np.testing.assert_array_equal(backend.fuse(ir, vis), reference_fuse(ir, vis))
    assert trt.builds == [(70, 48, None)]
    assert memory.replays == (3 if graphs else 0)
    described = backend.describe()
    assert described["cuda_graph"] is graphs and described["device"] == "Orin"
    assert "no engine of box_fp32" in described["engine_reasons"][0]
    backend.close()
    backend.close()
    assert memory.closed and memory.depth == 0


def test_the_second_start_finds_the_engine(robot, write_model, pair):
    path = write_model()
    with robot(path)[0] as backend:
        backend.fuse(*pair())
    backend, trt, _ = robot(path)
    backend.fuse(*pair())
    assert trt.builds == []
    assert backend.describe()["engine_reasons"] == ["found in the cache"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"version": "10.5.0"}, "engine_version was 10.3.0, is now 10.5.0"),
        ({"gpu": Gpu(0, "Orin Nano", (8, 7))}, "gpu was Orin, is now Orin Nano"),
    ],
)
def test_says_why_it_builds_again(robot, write_model, pair, change, words):
    path = write_model()
    robot(path)[0].fuse(*pair())
    robot.lines.clear()
    backend, trt, _ = robot(path, **change)
    backend.fuse(*pair())
    assert len(trt.builds) == 1 and words in robot.lines[0]


def test_an_engine_that_tensorrt_refuses_is_built_again(robot, write_model, pair, reference_fuse):
    path = write_model()
    robot(path)[0].fuse(*pair())
    backend, trt, _ = robot(path)
    trt.refuse = 1
    np.testing.assert_array_equal(backend.fuse(*pair()), reference_fuse(*pair()))
    # The timings of the first build help the second.
    assert trt.builds == [(70, 48, b"timings")]
    assert "refused the cached engine: version tag does not match" in robot.lines[-3]


def test_an_engine_that_is_refused_twice_is_an_error(robot, write_model, pair):
    path = write_model()
    robot(path)[0].fuse(*pair())
    backend, trt, memory = robot(path)
    trt.refuse = 2
    with pytest.raises(EngineError, match="just built .*version tag does not match"):
        backend.fuse(*pair())
    assert not memory.arrays
    assert backend.describe()["compiled_sizes"] == []


def test_a_corrupt_engine_never_reaches_tensorrt(robot, write_model, pair, tmp_path):
    path = write_model()
    robot(path)[0].fuse(*pair())
    (engine,) = (tmp_path / "engines").glob("*.engine")
    engine.write_bytes(b"[48, 71]")
    backend, trt, _ = robot(path)
    backend.fuse(*pair())
    assert len(trt.builds) == 1 and "sha256 differs" in robot.lines[-3]


def test_failing_to_run_frees_what_was_allocated(robot, write_model, pair):
    backend, trt, memory = robot(write_model())
    trt.fails = True
    with pytest.raises(EngineError, match="run the engine"):
        backend.fuse(*pair())
    assert not memory.arrays
    trt.fails = False
    backend.fuse(*pair())
    backend.close()


def test_the_oldest_size_gives_its_memory_back(robot, write_model, pair):
    backend, trt, memory = robot(write_model(), max_sizes=1)
    for width in (20, 22, 20):
        backend.fuse(*pair(16, width))
        assert len(memory.arrays) == 3  # ir, vis and fused of one size
    assert [build[:2] for build in trt.builds] == [(20, 16), (22, 16)], "the third was on disk"


def test_a_disk_that_is_full_does_not_stop_it(robot, write_model, pair, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    backend, _, _ = robot(write_model())
    backend.fuse(*pair())
    assert "No space left" in robot.lines[-1] and "build it again" in robot.lines[-1]


def test_the_graph_can_be_switched_off(robot, write_model, pair):
    backend, _, memory = robot(write_model(), cuda_graph=False)
    backend.fuse(*pair())
    assert memory.replays == 0 and backend.describe()["cuda_graph"] is False


def test_refuses_what_it_cannot_honour(robot, write_model):
    with pytest.raises(ConfigurationError, match="takes the precision from the ONNX file"):
        robot(write_model("fp32"), precision="fp16")
    with pytest.raises(EngineUnavailableError, match="cuda only"):
        robot(write_model(), device="cpu")
    with pytest.raises(EngineUnavailableError, match="no driver"):
        robot(write_model(), gpu=None, device=None)


@pytest.mark.gpu
@pytest.mark.parametrize("precision, bound", [("fp32", 1), ("fp16", 2), ("int8", 3)])
@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt_rtx"])
def test_on_the_real_gpu(engine, precision, bound, write_model, pair, reference_fuse, tmp_path):
    pytest.importorskip(engine)
    options = BackendOptions(cache_dir=str(tmp_path / "engines"))
    with open_backend(engine, write_model(precision), options) as backend:
        for seed in (1, 2):
            ir, vis = pair(48, 70, seed)
            difference = backend.fuse(ir, vis).astype(int) - reference_fuse(ir, vis)
            assert np.abs(difference).max() <= bound
