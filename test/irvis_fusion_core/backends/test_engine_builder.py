"""Real builds with TensorRT for RTX, which needs no GPU for them."""

import os
import time

import pytest

import irvis_fusion_core
from irvis_fusion_core.backends import BackendOptions, engine_builder
from irvis_fusion_core.backends.engine_builder import build_engine
from irvis_fusion_core.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    ModelError,
)

CAPABILITIES = [(8, 6), (8, 9)]


@pytest.fixture
def options(tmp_path):
    return BackendOptions(cache_dir=str(tmp_path / "engines"))


@pytest.fixture
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")


def build(path, options, capability=(8, 6), progress=None, size=(48, 64)):
    return build_engine(
        path, *size, options, progress, engine="tensorrt_rtx", compute_capability=capability
    )


@pytest.mark.parametrize("capability", CAPABILITIES, ids=["SM86", "SM89"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_builds_without_a_gpu(rtx, precision, capability, write_model, options):
    built = build(write_model(precision), options, capability)
    assert built.built and built.key.precision == precision
    assert built.key.compute_capability == "{}.{}".format(*capability)
    # The builder's own check of a serialized engine, as far as it goes without a GPU.
    assert os.path.getsize(built.path) > 10_000
    again = build(write_model(precision), options, capability)
    assert again.path == built.path and not again.built
    assert again.reason == "found in the cache"


def test_says_why_it_builds(rtx, write_model, options):
    lines = []
    build(write_model(), options, progress=lines.append)
    assert "no engine of box_fp32" in lines[0] and "64x48" in lines[0]
    assert lines[-2].startswith("built the tensorrt_rtx engine of box_fp32 for 64x48")
    assert lines[-1].startswith("kept it as " + options.cache_dir)
    reason = build(write_model(), options, (8, 9)).reason
    assert "compute_capability was 8.6, is now 8.9" in reason
    reason = build(write_model(), options, size=(32, 64)).reason
    assert "height was 48, is now 32" in reason
    reason = build(write_model(vis_order="bgr"), options).reason
    assert "onnx_sha256 was" in reason


def test_a_corrupt_engine_is_built_again(rtx, write_model, options):
    path = write_model()
    built = build(path, options)
    with open(built.path, "r+b") as stream:
        stream.truncate(1000)
    again = build(path, options)
    assert again.built and "sha256 differs" in again.reason
    assert os.path.getsize(again.path) > 10_000


def test_speaks_while_it_builds(write_model, options, monkeypatch):
    """The interval is shortened, and the builder replaced by one that waits for the third line."""
    pytest.importorskip("tensorrt_rtx")
    lines = []
    monkeypatch.setattr(engine_builder, "PROGRESS_INTERVAL_S", 0.01)

    def slow(*arguments):
        limit = time.monotonic() + 20
        while len(lines) < 3 and time.monotonic() < limit:
            time.sleep(0.005)
        return b"engine", None

    monkeypatch.setattr(engine_builder, "serialize_network", slow)
    build(write_model(), options, progress=lines.append)
    assert [line.startswith("still building the tensorrt_rtx engine") for line in lines[1:3]] == [
        True,
        True,
    ]
    count = len(lines)
    time.sleep(0.05)
    assert len(lines) == count, "it falls silent when the build is done"


def test_a_model_that_tensorrt_cannot_parse(rtx, write_model, options):
    import onnx

    path = write_model()
    model = onnx.load(path)
    model.graph.node[2].op_type = "NoSuchOperator"
    onnx.save(model, path)
    with pytest.raises(EngineError, match="parse .*NoSuchOperator"):
        build(path, options)


def test_a_fixed_size_model_of_another_size(rtx, write_model, options):
    with pytest.raises(ConfigurationError, match="only size of"):
        build(write_model(size=(16, 24)), options)
    assert build(write_model(size=(16, 24)), options, size=(16, 24)).built


def test_a_missing_model(options):
    with pytest.raises(ModelError, match="no such file"):
        build("/nonexistent.onnx", options)


def test_a_compute_capability_that_it_does_not_know(rtx, write_model, options):
    with pytest.raises(EngineUnavailableError, match="8.6.*9.9 was asked for"):
        build(write_model(), options, (9, 9))


def test_no_gpu_and_no_compute_capability(rtx, write_model, options, monkeypatch):
    monkeypatch.setattr(engine_builder, "find_gpu", lambda index: (None, "no driver"))
    with pytest.raises(EngineUnavailableError, match="no driver.*compute capability"):
        build(write_model(), options, None)


def test_options_that_make_no_sense(write_model, options):
    with pytest.raises(ConfigurationError, match="found 'onnxruntime'"):
        build_engine(write_model(), 48, 64, options, engine="onnxruntime")
    with pytest.raises(ConfigurationError, match="CUDA device"):
        build_engine(write_model(), 48, 64, BackendOptions(device="cpu"))


MODELS = os.path.join(os.path.dirname(irvis_fusion_core.__file__), "models")


@pytest.mark.parametrize("capability", CAPABILITIES, ids=["SM86", "SM89"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("variant", ["nano", "small", "base"])
def test_the_models_that_ship_build(rtx, variant, precision, capability, options):
    path = os.path.join(MODELS, f"{variant}_{precision}.onnx")
    if not os.path.isfile(path):
        pytest.skip(f"{variant}_{precision}.onnx does not ship")
    built = build(path, options, capability, size=(480, 640))
    assert built.key.precision == precision and os.path.getsize(built.path) > 10_000
