"""The fusions and the tables that the benchmarks share."""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pytest

import irvis_fusion_core
from benchmarks.shared.fusions import mean_rows, open_fusions, trivial_fusions
from benchmarks.shared.pairs import Pair
from irvis_fusion_core.metrics import luminance
from training.tables import markdown_table

MODELS = Path(irvis_fusion_core.__file__).parent / "models"


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    ir = rng.integers(0, 256, (64, 96), np.uint8)
    vis = rng.integers(0, 256, (64, 96, 3), np.uint8)
    return Pair("set/1", ir, vis, luminance(vis))


def test_trivial_fusions_are_of_the_planes(pair):
    fusions = trivial_fusions()
    assert list(fusions) == ["maximum", "mean", "visible", "IR"]
    np.testing.assert_array_equal(fusions["maximum"](pair), np.maximum(pair.ir, pair.luma))
    half_up = (pair.ir.astype(int) + pair.luma + 1) // 2
    np.testing.assert_array_equal(fusions["mean"](pair), half_up)


def test_a_checkpoint_fuses_as_the_file_that_was_exported_from_it(pair, tmp_path):
    pytest.importorskip("torch")
    run = tmp_path / "run_a"
    run.mkdir()
    shutil.copy(MODELS / "nano.safetensors", run / "best.safetensors")
    names = [str(run / "best.safetensors"), str(run / "best.safetensors") + "=named"]
    models = [*names, str(MODELS / "nano_fp32.onnx")]
    options = argparse.Namespace(model=models, backend="auto", threads=1)
    with open_fusions(options) as fusions:
        assert list(fusions) == ["run_a", "named", "nano_fp32"]
        images = [fuse(pair).astype(int) for fuse in fusions.values()]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() <= 1


def test_a_table_has_a_dash_for_nan_and_text_as_it_is():
    text = markdown_table(("a", "b"), {"x": [float("nan"), 3], "y": ["", 4]}, (".2f", "d"), "set")
    assert text.splitlines() == [
        "| set | a | b |",
        "|---|---|---|",
        "| x | – | 3 |",
        "| y |  | 4 |",
    ]


def test_means_leave_out_what_is_not_there():
    nan = float("nan")
    assert mean_rows({"x": [[1.0, nan], [3.0, 5.0]]}) == {"x": [2.0, 5.0]}
    assert np.isnan(mean_rows({"x": [[nan], [nan]]})["x"]).all()
