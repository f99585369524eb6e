"""docs/jetson.md: its trtexec lines fit the models, and each TensorRT knows the options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "jetson.md").read_text(encoding="utf-8")
# What NVIDIA's migration guides list as removed, of what has been usual.
GONE = {
    "8.5": {"stronglyTyped"},  # came later
    "10": {"workspace", "minTiming", "batch", "maxBatch", "uff", "deploy"},
    "11": {"workspace", "minTiming", "fp16", "int8", "calib", "best", "bf16"},
}


def options(version: str) -> dict[str, str]:
    """Return the options of the trtexec line for one TensorRT."""
    found = re.search(rf"^TensorRT {version}\n\n```bash\ntrtexec ((?:.|\n)*?)\n```", TEXT, re.M)
    assert found is not None
    words = found[1].replace("\\\n", " ").split()
    return {name: value for name, _, value in (word[2:].partition("=") for word in words)}


@pytest.mark.parametrize("version", GONE)
def test_trtexec_lines_fit_the_model_and_the_version(version: str) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install '.[onnx]'")
    given = options(version)
    assert not set(given) & GONE[version]
    assert given["memPoolSize"] == "workspace:4096"
    model = onnx.load(ROOT / "irvis_fusion_core" / "models" / given["onnx"])
    for which in ("minShapes", "optShapes", "maxShapes"):
        shapes = dict(each.split(":") for each in given[which].split(","))
        assert set(shapes) == {each.name for each in model.graph.input}
        for each in model.graph.input:
            *size, channels = map(int, shapes[each.name].split("x"))
            assert channels == each.type.tensor_type.shape.dim[-1].dim_value
            assert size == [1, 480, 640]
    assert model.opset_import[0].version == 17


def test_the_cuda_packages_are_those_of_the_extra() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [each.partition(" ;")[0] for each in project["optional-dependencies"]["jetson"]]
    assert [each for each in wanted if f"'{each}'" not in TEXT] == []
    jetson = (ROOT / "docker" / "jetson.Dockerfile").read_text(encoding="utf-8")
    assert all(f"'{each}'" in jetson for each in wanted if each.startswith("cuda-python"))
