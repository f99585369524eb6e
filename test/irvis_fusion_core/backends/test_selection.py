"""Which backend "auto" takes, and what it says of the others."""

import subprocess
import sys

import pytest

from irvis_fusion_core.backends import (
    Backend,
    BackendOptions,
    backend_names,
    choose_backend,
    open_backend,
    probe_backends,
    selection,
)
from irvis_fusion_core.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    ModelError,
)
from irvis_fusion_core.optional_packages import pip_advice


def fake_backend(label, devices, opens=None):
    class Fake(Backend):
        name = label

        @classmethod
        def _find(cls, device):
            kind = (device or "cpu").partition(":")[0]
            if kind not in devices:
                raise EngineUnavailableError(f"{label} is not on {device}")
            return "1", f"{label} runs on {kind}"

        @classmethod
        def open(cls, model_path, options=None):
            if opens is not None:
                raise opens
            return cls.__new__(cls)

        def _compile(self, *arguments):
            pytest.fail("selection compiles and runs nothing")

        _run = _describe = _compile

    return Fake


def test_a_backend_that_lacks_a_part_cannot_be_made():
    class Partial(Backend):
        def _run(self, compiled, ir, vis):
            return vis

    with pytest.raises(TypeError, match="_compile"):
        Partial(None, None)


@pytest.fixture
def machine(monkeypatch):
    """A machine on which each backend runs on the named devices only."""

    def make(opens=None, **devices):
        classes = {
            name: fake_backend(name, devices.get(name, ()), (opens or {}).get(name))
            for name in backend_names()
        }
        monkeypatch.setattr(selection, "backend_class", classes.__getitem__)

    return make


def names(lines):
    return [line.partition(":")[0] for line in lines]


@pytest.mark.parametrize(
    "devices, chosen",
    [
        ({"tensorrt": ["cuda"], "torch": ["cuda", "cpu"], "openvino": ["cpu"]}, "tensorrt"),
        ({"tensorrt_rtx": ["cuda"], "torch": ["cuda", "cpu"]}, "tensorrt_rtx"),
        ({"torch": ["cuda", "cpu"], "openvino": ["cpu"]}, "torch"),
        ({"torch": ["cpu"], "openvino": ["cpu"], "onnxruntime": ["cpu"]}, "openvino"),
        ({"torch": ["cpu"], "onnxruntime": ["cpu"]}, "onnxruntime"),
        ({"torch": ["cpu"]}, "torch"),
    ],
)
def test_takes_the_best_and_says_why_not_the_others(machine, devices, chosen):
    machine(**devices)
    backend, passed_over = choose_backend()
    assert backend.name == chosen
    order = ["tensorrt", "tensorrt_rtx", "torch on cuda", "openvino", "onnxruntime"]
    assert len(passed_over) == {"torch": 2 if "cuda" in devices["torch"] else 5}.get(
        chosen, order.index(chosen) if chosen in order else -1
    )
    assert all("is not on" in line for line in passed_over)


def test_a_device_narrows_the_choice(machine):
    machine(tensorrt=["cuda"], openvino=["cpu"])
    backend, passed_over = choose_backend(device="cpu")
    assert backend.name == "openvino"
    assert "device cpu was asked for" in passed_over[0]
    assert choose_backend(device="cuda:0")[0].name == "tensorrt"


def test_nothing_runs(machine):
    machine()
    with pytest.raises(EngineUnavailableError, match="onnxruntime is not on cpu"):
        choose_backend()


def test_a_named_backend_that_is_not_there(machine):
    machine()
    with pytest.raises(EngineUnavailableError, match="openvino is not on None"):
        choose_backend("openvino")


def test_auto_goes_on_to_the_next_when_one_does_not_open(machine):
    machine(
        opens={"tensorrt": EngineError("no memory"), "torch": ModelError("no weights")},
        tensorrt=["cuda"],
        torch=["cuda", "cpu"],
        openvino=["cpu"],
    )
    backend = open_backend("auto", "model.onnx")
    assert backend.name == "openvino"
    assert names(backend.passed_over) == [
        "tensorrt on cuda",
        "tensorrt_rtx on cuda",
        "torch on cuda",
    ]
    assert "no memory" in backend.passed_over[0] and "no weights" in backend.passed_over[2]


def test_auto_with_a_bad_model_says_what_is_bad(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        open_backend("auto", str(tmp_path / "nano_fp32.onnx"))


def test_auto_runs_here(write_model, pair, reference_fuse):
    import numpy as np

    options = BackendOptions(threads=1, device="cpu")
    with open_backend("auto", write_model(), options) as backend:
        fused = backend.fuse(*pair())
        described = backend.describe()
    assert np.abs(fused.astype(int) - reference_fuse(*pair())).max() <= 1
    assert described["backend"] in ("openvino", "onnxruntime", "numpy")
    assert names(described["passed_over"])[:3] == [
        "tensorrt on cuda",
        "tensorrt_rtx on cuda",
        "torch on cuda",
    ]


def test_an_unknown_name():
    with pytest.raises(ConfigurationError, match="found 'tensorflow'"):
        choose_backend("tensorflow")
    with pytest.raises(ConfigurationError, match="found 'tensorflow'"):
        open_backend("tensorflow", "model.onnx")


def test_every_backend_can_be_asked():
    probed = probe_backends()
    assert [each.name for each in probed] == backend_names()
    assert all(each.reason for each in probed)


def test_importing_the_package_imports_no_engine():
    code = (
        "import sys, irvis_fusion_core.backends, irvis_fusion_core.backends.tensorrt;"
        "from irvis_fusion_core.backends import openvino, onnxruntime, torch;"
        "print([m for m in ('torch','onnxruntime','openvino','tensorrt','tensorrt_rtx','pycuda',"
        "'onnx','rclpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_engine_says_what_to_install(monkeypatch, write_model):
    for module, words in (
        ("openvino", "pip install openvino"),
        ("onnxruntime", "pip install onnxruntime"),
        ("torch", "pip install torch"),
        ("tensorrt", "JetPack"),
        ("tensorrt_rtx", "pip install tensorrt-rtx"),
    ):
        monkeypatch.setitem(sys.modules, module, None)  # makes `import module` fail
        with pytest.raises(EngineUnavailableError, match=words):
            open_backend(module, write_model())


def test_a_python_that_refuses_pip_is_told_of_a_virtual_environment(monkeypatch, tmp_path):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert "--system-site-packages" in pip_advice("onnxruntime")


def test_auto_takes_numpy_where_nothing_is_installed(monkeypatch, write_model, pair):
    for module in ("openvino", "onnxruntime", "torch", "tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    with open_backend("auto", write_model()) as backend:
        assert backend.name == "numpy"
        backend.fuse(*pair())
    with pytest.raises(EngineUnavailableError, match="not on 'cuda'"):
        open_backend("numpy", write_model(), BackendOptions(device="cuda"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": -1},
        {"threads": 1.5},
        {"threads": True},
        {"max_sizes": 0},
        {"vis_order": "yuv"},
        {"precision": "fp8"},
        {"cuda_memory": "malloc"},
        {"device": ""},
        {"device": 0},
    ],
    ids=str,
)
def test_options_that_cannot_be(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"expected {name} to be"):
        BackendOptions(**wrong)


def test_device_names():
    assert BackendOptions().cuda_index() == 0
    assert BackendOptions(device="cuda").cuda_index() == 0
    assert BackendOptions(device="CUDA:2").cuda_index() == 2
    assert BackendOptions(device="cpu").cuda_index() is None
    with pytest.raises(ConfigurationError, match="found 'cuda:first'"):
        BackendOptions(device="cuda:first").cuda_index()
