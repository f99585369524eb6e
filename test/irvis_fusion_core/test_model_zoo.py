"""The models that ship: found, and refused when their bytes are not those shipped."""

import hashlib
import json
import os
import shutil

import pytest

from irvis_fusion_core import model_zoo
from irvis_fusion_core.errors import ConfigurationError, ModelError


@pytest.fixture
def folder(student_models, tmp_path):
    """A copy that a test may damage."""
    target = tmp_path / "models"
    shutil.copytree(student_models, target)
    return str(target)


def test_lists_what_the_checksums_name(folder):
    assert model_zoo.list_models(folder) == ["nano"]
    assert model_zoo.precisions("nano", folder) == ["fp32", "fp16"]
    assert model_zoo.precisions("base", folder) == []


def test_gives_paths_of_whole_files(folder):
    assert model_zoo.path("nano", folder=folder) == os.path.join(folder, "nano_fp32.onnx")
    assert model_zoo.path("nano", "fp16", folder) == os.path.join(folder, "nano_fp16.onnx")
    assert model_zoo.weights_path("nano", folder) == os.path.join(folder, "nano.safetensors")


def test_checksums_are_sha256(folder):
    with open(os.path.join(folder, "checksums.json")) as stream:
        record = json.load(stream)
    for name, digest in record.items():
        with open(os.path.join(folder, name), "rb") as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == digest


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "lfs pointer"])
def test_a_damaged_file_is_refused(folder, damage):
    path = model_zoo.path("nano", folder=folder)
    with open(path, "rb") as stream:
        content = stream.read()
    if damage == "missing":
        os.remove(path)
    else:
        changed = {
            "truncated": content[: len(content) // 2],
            "changed": content[:-1] + bytes([content[-1] ^ 1]),
            "lfs pointer": b"version https://git-lfs.github.com/spec/v1\n",
        }[damage]
        with open(path, "wb") as stream:
            stream.write(changed)
        os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match="nano_fp32.onnx"):
        model_zoo.path("nano", folder=folder)


def test_a_precision_that_does_not_ship_says_what_does(folder):
    with pytest.raises(ModelError, match="nano_fp16.onnx, nano_fp32.onnx"):
        model_zoo.path("nano", "int8", folder)


@pytest.mark.parametrize("name, precision", [("huge", "fp32"), ("nano", "fp8"), ("", "fp32")])
def test_unknown_names_are_refused(folder, name, precision):
    with pytest.raises(ConfigurationError, match="expected"):
        model_zoo.path(name, precision, folder)


@pytest.mark.parametrize("content", [None, "not json", "[]"])
def test_a_package_without_its_list_says_so(tmp_path, content):
    if content is not None:
        (tmp_path / "checksums.json").write_text(content)
    with pytest.raises(ModelError, match="install the package again"):
        model_zoo.list_models(str(tmp_path))


def test_a_users_own_model_goes_by_its_path(folder):
    own = os.path.join(folder, "mine.onnx")
    shutil.copy(os.path.join(folder, "nano_fp32.onnx"), own)
    assert model_zoo.path(own) == own
    with pytest.raises(ModelError, match="no such file"):
        model_zoo.path(own + "x.onnx")


def test_the_models_in_the_package_are_whole():
    """Of the package itself: what it says it ships is there, byte for byte."""
    if not os.path.isfile(os.path.join(model_zoo.MODELS_DIR, model_zoo.CHECKSUMS)):
        pytest.skip("this checkout has no models yet")
    assert model_zoo.list_models() == list(model_zoo.VARIANTS)
    total = 0
    for name in model_zoo.list_models():
        assert {"fp16"} <= set(model_zoo.precisions(name))
        for precision in model_zoo.precisions(name):
            total += os.path.getsize(model_zoo.path(name, precision))
        total += os.path.getsize(model_zoo.weights_path(name))
    assert total <= 25e6
