"""What every engine that runs the ONNX file promises, against the network in numpy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from irvis_fusion_core.backends import BackendOptions, open_backend
from irvis_fusion_core.errors import ConfigurationError, EngineError, FrameError, ModelError

ENGINES = ["numpy", "onnxruntime", "openvino"]
# Grey levels. int8: half a step of 1/127 on the difference of the frames is one level.
BOUND = {"fp32": 0, "fp16": 1, "int8": 2}


@pytest.fixture(params=ENGINES)
def engine(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


def worst(a, b):
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("precision", sorted(BOUND))
def test_agrees_with_numpy(engine, precision, write_model, pair, reference_fuse):
    ir, vis = pair()
    with open_backend(engine, write_model(precision), BackendOptions(threads=1)) as backend:
        fused = backend.fuse(ir, vis)
    assert fused.dtype == np.uint8 and fused.shape == vis.shape
    # One level more: a sum that lands on a half may round either way in fp32.
    assert worst(fused, reference_fuse(ir, vis)) <= BOUND[precision] + 1
    assert np.mean(fused != reference_fuse(ir, vis)) < (0.001 if precision == "fp32" else 0.6)


def test_frames_in_the_other_channel_order(engine, write_model, pair, reference_fuse):
    ir, vis = pair()
    bgr = np.ascontiguousarray(vis[..., ::-1])
    kept = bgr.copy()
    options = BackendOptions(threads=1, vis_order="bgr")
    with open_backend(engine, write_model(vis_order="rgb"), options) as backend:
        fused = backend.fuse(ir, bgr)
    assert worst(fused[..., ::-1], reference_fuse(ir, vis)) <= 1
    np.testing.assert_array_equal(bgr, kept)


def test_a_model_of_bgr_frames(engine, write_model, pair, reference_fuse):
    ir, vis = pair()
    options = BackendOptions(threads=1, vis_order="bgr")
    with open_backend(engine, write_model(vis_order="bgr"), options) as backend:
        assert worst(backend.fuse(ir, vis), reference_fuse(ir, vis, "bgr")) <= 1


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_result_is_the_callers_own(engine, write_model, pair, order):
    first, second = pair(seed=1), pair(seed=2)
    options = BackendOptions(threads=1, vis_order=order)
    with open_backend(engine, write_model(), options) as backend:
        fused = backend.fuse(*first)
        kept = fused.copy()
        backend.fuse(*second)
    np.testing.assert_array_equal(fused, kept)
    fused[:] = 0  # writable


def test_keeps_the_sizes_used_last(engine, write_model, pair, reference_fuse):
    with open_backend(engine, write_model(), BackendOptions(threads=1, max_sizes=2)) as backend:
        for height, width in ((16, 20), (18, 22), (16, 20), (24, 26)):
            ir, vis = pair(height, width)
            assert worst(backend.fuse(ir, vis), reference_fuse(ir, vis)) <= 1
        # 18x22 was used longest ago.
        assert backend.describe()["compiled_sizes"] == ["20x16", "26x24"]


def test_warm_up_compiles_the_size(engine, write_model):
    with open_backend(engine, write_model(), BackendOptions(threads=1)) as backend:
        backend.warm_up(16, 24)
        described = backend.describe()
    assert described["compiled_sizes"] == ["24x16"]
    assert described["backend"] == engine and described["variant"] == "box"
    assert described["engine"].startswith(engine)


def test_a_fixed_size_takes_that_size_only(engine, write_model, pair, reference_fuse):
    path = write_model(size=(16, 24))
    with open_backend(engine, path, BackendOptions(threads=1)) as backend:
        ir, vis = pair(16, 24)
        assert worst(backend.fuse(ir, vis), reference_fuse(ir, vis)) <= 1
        with pytest.raises(FrameError, match="24x16.*found 26x18"):
            backend.fuse(*pair(18, 26))


def test_closed_is_closed(engine, write_model, pair):
    backend = open_backend(engine, write_model(), BackendOptions(threads=1))
    backend.fuse(*pair())
    backend.close()
    backend.close()
    with pytest.raises(EngineError, match="closed"):
        backend.fuse(*pair())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda ir, vis: (ir.astype(np.float32), vis),
        lambda ir, vis: (ir[None], vis),
        lambda ir, vis: (ir, vis[..., :1]),
        lambda ir, vis: (ir, vis[:, ::2]),
        lambda ir, vis: (ir[:0], vis[:0]),
        lambda ir, vis: (ir, vis.tolist()),
        lambda ir, vis: (np.ascontiguousarray(ir[1:]), vis),
    ],
    ids=["float", "rank", "channels", "strided", "empty", "list", "sizes differ"],
)
def test_refuses_other_frames(engine, write_model, pair, spoil):
    backend = open_backend(engine, write_model(), BackendOptions(threads=1))
    with backend, pytest.raises(FrameError, match="expected .* found"):
        backend.fuse(*spoil(*pair()))


def test_refuses_a_model_with_damaged_weights(engine, write_model):
    """The file is whole, our interface is there, and the graph inside is nonsense."""
    onnx = pytest.importorskip("onnx")

    path = write_model()
    model = onnx.load(path)
    model.graph.node[2].op_type = "NoSuchOperator"
    onnx.save(model, path)
    with pytest.raises(EngineError, match="box_fp32.onnx"):
        open_backend(engine, path, BackendOptions(threads=1)).warm_up(16, 16)


def test_refuses_an_unknown_device(engine, write_model):
    from irvis_fusion_core.errors import EngineUnavailableError

    with pytest.raises(EngineUnavailableError, match="abacus"):
        open_backend(engine, write_model(), BackendOptions(device="abacus"))


def test_refuses_a_precision_that_it_cannot_honour(engine, write_model):
    with pytest.raises(ConfigurationError, match="found int8"):
        open_backend(engine, write_model("fp32"), BackendOptions(precision="int8"))


def test_takes_the_models_own_precision(engine, write_model, pair, reference_fuse):
    options = BackendOptions(threads=1, precision="fp16")
    with open_backend(engine, write_model("fp16"), options) as backend:
        assert worst(backend.fuse(*pair()), reference_fuse(*pair())) <= 2


def test_openvino_calculates_in_bfloat16_when_asked(write_model, pair, reference_fuse):
    pytest.importorskip("openvino")
    options = BackendOptions(threads=1, precision="bf16")
    with open_backend("openvino", write_model(), options) as backend:
        fused = backend.fuse(*pair())
        assert backend.describe()["inference_precision"] == "bf16"
    # 8 bits of mantissa: half a step at 255 is 0.5, three operations deep.
    assert worst(fused, reference_fuse(*pair())) <= 4


def test_a_missing_file_is_said_first(engine):
    with pytest.raises(ModelError, match="no such file"):
        open_backend(engine, "/nonexistent/nano_fp32.onnx")


def test_an_engine_closed_on_another_thread_leaves_signals_alone(engine, write_model):
    program = f"""
import faulthandler, gc, signal, threading
from irvis_fusion_core.backends import BackendOptions, open_backend
faulthandler.enable()
backend = open_backend({engine!r}, {write_model()!r}, BackendOptions(threads=1))
backend.warm_up(16, 16)
def close():
    global backend
    backend.close()
    del backend
    gc.collect()
thread = threading.Thread(target=close)
thread.start()
thread.join()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_threads_that_ask_at_once_get_one_openvino_core():
    pytest.importorskip("openvino")
    program = """
import threading
from irvis_fusion_core.optional_packages import openvino_core
barrier, cores = threading.Barrier(8), []
def ask():
    barrier.wait()
    cores.append(openvino_core())
threads = [threading.Thread(target=ask) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(cores), len(set(map(id, cores))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "8 1\n", done.stderr


def test_no_other_openvino_core_is_made():
    root = Path(__file__).resolve().parents[3]
    rooms = ("irvis_fusion_core", "irvis_fusion_ros", "training", "benchmarks")
    files = [path for room in rooms for path in (root / room).rglob("*.py")]
    made = [path.name for path in files if ".Core()" in path.read_text(encoding="utf-8")]
    assert made == ["optional_packages.py"]
