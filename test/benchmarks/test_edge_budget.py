"""The budget of edges: against Qabf itself, and images whose edges are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import edge_budget
from irvis_fusion_core import metrics
from irvis_fusion_core.image_files import write_image


def image(seed, shape=(48, 56)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(st.integers(0, 2**20))
def test_the_shares_add_up_to_all_edges_and_to_qabf(seed):
    fused, ir, vis = (image(seed + k) for k in range(3))
    share, kept = edge_budget.budget(fused, ir, vis)
    assert share.sum() == pytest.approx(1.0)
    assert kept.sum() == pytest.approx(metrics.qabf(fused, ir, vis), abs=1e-12)


def test_a_copy_of_one_source_keeps_its_edges_and_a_flat_source_has_none():
    ir, flat = image(0), np.zeros((48, 56), np.uint8)
    share, kept = edge_budget.budget(ir, ir, flat)
    assert share[0] == pytest.approx(1.0) and share[2:].sum() == 0.0
    # Equal strengths saturate the one sigmoid; the other is at a likeness of 1.
    assert kept[0] == pytest.approx(0.9994 * 0.9879 / (1.0 + np.exp(-22.0 * 0.2)), abs=1e-3)
    share, kept = edge_budget.budget(flat, flat, flat)
    assert not share.any() and not kept.any()


def stripes(contrast, level):
    return np.tile(np.repeat([level, level + contrast], 4), (48, 7)).astype(np.uint8)


def test_selection_takes_the_stronger_detail_where_it_is_much_stronger():
    strong, flat = stripes(80, 60), np.full((48, 56), 150, np.uint8)
    for ir, vis in ((strong, flat), (flat, strong)):
        selected = edge_budget.select_edges(flat, ir, vis)
        inside = (slice(8, -8), slice(12, -12))
        # The image's own brightness stays, the source's contrast comes.
        assert np.ptp(selected[inside]) == pytest.approx(80, abs=12)
        assert abs(selected[inside].mean() - 150) < 12


def test_selection_leaves_images_whose_edges_are_alike_or_faint():
    vis, fused = stripes(80, 60), np.full((48, 56), 150, np.uint8)
    assert np.abs(edge_budget.select_edges(fused, vis, vis).astype(int) - fused).max() <= 1
    faint = stripes(2, 60)
    flat = np.full_like(fused, 60)
    assert np.abs(edge_budget.select_edges(fused, faint, flat).astype(int) - fused).max() <= 1


def test_the_table_has_the_metrics_own_means(tmp_path, capsys):
    for name, seed in (("1D", 0), ("2N", 5)):
        for side, k in (("IR", 0), ("VIS", 1)):
            write_image(str(tmp_path / "set" / side / f"{name}.png"), image(seed + k))
    edge_budget.main(["--data", str(tmp_path), "--sets", "set@N", "--rule"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in lines if not line.startswith("|--")] == [
        "set@N",
        "of all edges",
        "maximum",
        "maximum, selected",
    ]
    ir, vis = image(5), image(6)
    expected = metrics.score_pair(np.maximum(ir, vis), ir, vis, ("Qabf", "SSIM"))
    cells = [float(cell) for cell in lines[3].split("|")[2:-1]]
    assert cells[4:] == [pytest.approx(v, abs=6e-4) for v in expected.values()]
    shares = [float(cell) for cell in lines[2].split("|")[2:6]]
    assert np.dot(shares, cells[:4]) == pytest.approx(expected["Qabf"], abs=2e-3)
