"""Tables come back as they were written, whatever they hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.evaluation.summary import plain, spread, verdict
from irvis_fusion_ros.evaluation.tables import Table, read_columns, read_rows

CELL = st.one_of(st.none(), st.floats(), st.text(max_size=8))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), max_size=8))
def test_cells_come_back(tmp_path_factory, rows):
    path = str(tmp_path_factory.mktemp("tables") / "a.csv")
    table = Table(path, ["name", "value"])
    kept = [r for r in rows if not any(isinstance(c, str) and set("\r\n\0") & set(c) for c in r)]
    for name, value in kept:
        table.add({"name": name, "value": value})
    table.close()
    found = read_columns(path, ["value"])["value"]
    assert found.dtype == np.float64 and len(found) == len(kept)
    for (_, value), number in zip(kept, found):
        if isinstance(value, float) and not math.isnan(value):
            assert number == pytest.approx(value, rel=1e-5)
        elif value is None or isinstance(value, float):
            assert math.isnan(number)
    for (name, _), row in zip(kept, read_rows(path)):
        if isinstance(name, str):
            assert row["name"] == name


def test_columns_of_some_rows_alone(tmp_path):
    table = Table(str(tmp_path / "a.csv"), ["kind", "value"])
    for kind, value in (("a", 1.0), ("b", 2.0), ("a", None)):
        table.add({"kind": kind, "value": value})
    with pytest.raises(ValueError, match="other"):
        table.add({"other": 1})
    table.close()
    found = read_columns(table.path, ["value"], {"kind": "a"})["value"]
    assert found[0] == 1.0 and math.isnan(found[1]) and len(found) == 2
    assert read_columns(table.path, ["value"], {"kind": "c"})["value"].size == 0


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FusionError, match="no.*a.csv.*--output"):
        Table(str(tmp_path / "no" / "a.csv"), ["a"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_percentiles_are_those_of_numpy(values):
    found = spread(np.array([*values, float("nan")]))
    assert found["count"] == len(values)
    assert found["mean"] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    for key, share in (("min", 0), ("p05", 5), ("p50", 50), ("p99", 99), ("max", 100)):
        assert found[key] == pytest.approx(np.percentile(values, share), rel=1e-9, abs=1e-9)


def test_infinities_have_percentiles_and_a_place_in_json():
    found = spread(np.array([1.0, np.inf, np.inf]))
    assert (found["min"], found["p50"]) == (1.0, math.inf)
    assert plain(found)["p50"] == "inf" and plain(found)["std"] is None
    assert spread(np.array([np.nan])) == {"count": 0}


def row(kind, **means):
    return {"kind": kind, "metrics": {n: {"mean": m, "count": 3} for n, m in means.items()}}


def test_the_verdict_names_what_is_better_level_and_behind():
    rows = {
        "mine": row("configuration", VIF=1.2, Qabf=0.5, SSIM=1.0),
        "mean": row("reference", VIF=1.0, Qabf=0.4, SSIM=1.004),
        "maximum": row("reference", VIF=1.1, Qabf=0.7, SSIM=0.9),
    }
    said = verdict(rows, "mine")
    assert said.startswith("Better than every trivial fusion on VIF; level with “mean” on SSIM")
    assert "behind “maximum” on Qabf" in said
    assert verdict({"mine": row("configuration")}, "mine") == "Nothing was measured."
