"""The trivial rows of a set, or of that part of it whose names end alike."""

import numpy as np
import pytest

from benchmarks import reference_rows
from irvis_fusion_core import metrics
from irvis_fusion_core.image_files import write_image


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    for name in ("1D", "2N", "3N"):
        for side in ("IR", "VIS"):
            image = random.integers(0, 256, (180, 192), np.uint8)
            write_image(str(tmp_path / "set" / side / f"{name}.png"), image)
    return tmp_path


def test_an_ending_takes_its_part_of_the_set(data):
    names = lambda ending: [n for n, _, _ in reference_rows.read_pairs(data / "set", None, ending)]  # noqa: E731
    assert names("") == ["1D.png", "2N.png", "3N.png"]
    assert names("N") == ["2N.png", "3N.png"]
    with pytest.raises(SystemExit, match="end in 'X'"):
        names("X")


def test_the_markdown_has_the_means_of_the_metrics_themselves(data, capsys):
    reference_rows.main(["--data", str(data), "--sets", "set@N", "--markdown"])
    printed = capsys.readouterr().out
    assert "**set@N, 2 pairs**" in printed
    cells = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in printed.splitlines()
    }
    expected = []
    for _, ir, vis in reference_rows.read_pairs(data / "set", None, "N"):
        y = metrics.luminance(vis)
        expected.append(metrics.score_pair(np.maximum(ir, y), ir, y)["Qabf"])
    place = cells[""].index("Qabf")
    assert cells["maximum"][place] == f"{np.mean(expected):.3f}"
    assert {len(row) for row in cells.values()} == {len(metrics.METRIC_NAMES)}
