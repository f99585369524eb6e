"""The ONNX reader against the onnx package, and against damage."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irvis_fusion_core.backends.model_file import external_files, read_model_file
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


def with_external_data(onnx, path, location):
    """Write the model of `path` with its constants in another file, under the name `location`."""
    model = onnx.load(path)
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0
    )
    split = path.replace(".onnx", "_split.onnx")
    onnx.save(model, split)
    named = onnx.load(split, load_external_data=False)
    for tensor in named.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    with open(split, "wb") as stream:
        stream.write(named.SerializeToString())
    return split


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
def test_refuses_weights_in_other_files(write_model, location):
    onnx = pytest.importorskip("onnx")
    path = write_model()
    split = with_external_data(onnx, path, location)
    with pytest.raises(ModelError, match="keeps weights in.*onnx.save") as caught:
        read_model_file(split)
    assert repr(location) in str(caught.value)
    if location == "weights.bin":  # what the error advises
        onnx.save(onnx.load(split), split)
        assert read_model_file(split).variant == read_model_file(path).variant


def test_finds_other_files_in_every_corner_of_a_model(write_model):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def tensor(location):
        found = onnx.TensorProto(name=location, data_type=1, dims=[1])
        found.data_location = onnx.TensorProto.EXTERNAL
        found.external_data.add(key="location", value=location)
        return found

    inner = helper.make_node("Constant", [], ["c"], value=tensor("constant"))
    branch = helper.make_graph([inner], "branch", [], [], [tensor("branch")])
    many = helper.make_attribute("many", [tensor("many")])
    choice = helper.make_node("If", ["x"], ["y"], then_branch=branch)
    choice.attribute.append(many)
    model = onnx.load(write_model())
    model.graph.node.append(choice)
    sparse = onnx.SparseTensorProto(values=tensor("values"), indices=tensor("indices"), dims=[9])
    model.graph.sparse_initializer.append(sparse)
    model.functions.add(name="f").node.append(
        helper.make_node("G", [], ["d"], v=tensor("function"))
    )
    model.training_info.add().algorithm.CopyFrom(branch)
    expected = ["branch", "constant", "function", "indices", "many", "values"]
    assert external_files(model.SerializeToString()) == expected
    assert external_files(onnx.load(write_model()).SerializeToString()) == []
