"""The ONNX reader against the onnx package, and against damage."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.errors import ModelError


def test_reads_what_onnx_reads(write_model):
    onnx = pytest.importorskip("onnx")

    path = write_model("int8", "bgr")
    found = read_model_file(path)
    recorded = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert found.variant == recorded["irvis_fusion.variant"] == "box"
    assert found.precision == recorded["irvis_fusion.precision"] == "int8"
    assert found.vis_order == recorded["irvis_fusion.vis_order"] == "bgr"
    assert (found.height, found.width, found.fixed_size) == ("height", "width", None)
    with open(path, "rb") as stream:
        assert found.sha256 == hashlib.sha256(stream.read()).hexdigest()


def test_reads_a_fixed_size(write_model):
    assert read_model_file(write_model(size=(480, 640))).fixed_size == (480, 640)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"names": ("thermal", "vis", "fused")}, "inputs thermal, vis"),
        ({"names": ("ir", "vis", "output")}, "outputs output"),
        ({"output_type": 1}, "fused to be uint8"),
        ({"metadata": {"format": "2"}}, "format.*found '2'"),
        ({"metadata": {"precision": None}}, "precision.*found nothing"),
        ({"metadata": {"vis_order": "yuv"}}, "vis_order.*found 'yuv'"),
        ({"metadata": {"variant": None}}, "variant.*found nothing"),
    ],
)
def test_refuses_models_that_are_not_ours(write_model, change, words):
    with pytest.raises(ModelError, match=words):
        read_model_file(write_model(**change))


def test_refuses_what_is_no_file(tmp_path):
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ModelError, match="no such file"):
            read_model_file(str(path))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.floats(0, 1, exclude_max=True))
def test_refuses_every_truncation(write_model, tmp_path, part):
    with open(write_model(), "rb") as stream:
        content = stream.read()
    short = tmp_path / "short.onnx"
    short.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ModelError, match="expected"):
        read_model_file(str(short))


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=200))
def test_refuses_any_other_bytes(tmp_path, content):
    path = tmp_path / "noise.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        read_model_file(str(path))
