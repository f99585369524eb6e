"""The trivial rows of a set, or of that part of it whose names end alike."""

import numpy as np
import pytest

from benchmarks import reference_rows
from benchmarks.shared.pairs import read_pairs
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
    def names(of, **options):
        return [pair.name for pair in read_pairs(data, of, **options)]

    assert names("set") == ["set/1D", "set/2N", "set/3N"]
    assert names("set@N") == ["set/2N", "set/3N"]
    assert names("set", limit=2) == ["set/1D", "set/2N"]
    assert names("set", limit=2, spread=True) == ["set/1D", "set/3N"]
    with pytest.raises(SystemExit, match="end in 'X'"):
        names("set@X")
    with pytest.raises(SystemExit, match="no such folder"):
        names("other")


def test_a_pair_of_two_sizes_is_refused(data):
    write_image(str(data / "set" / "IR" / "1D.png"), np.zeros((180, 100), np.uint8))
    with pytest.raises(SystemExit, match="expected one size"):
        list(read_pairs(data, "set"))


def test_the_markdown_has_the_means_of_the_metrics_themselves(data, capsys):
    reference_rows.main(["--data", str(data), "--sets", "set@N", "--markdown"])
    printed = capsys.readouterr().out
    assert "**set@N, 2 pairs**" in printed
    cells = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in printed.splitlines()
    }
    expected = []
    for pair in read_pairs(data, "set@N"):
        maximum = np.maximum(pair.ir, pair.luma)
        expected.append(metrics.score_pair(maximum, pair.ir, pair.luma)["Qabf"])
    place = cells[""].index("Qabf")
    assert cells["maximum"][place] == f"{np.mean(expected):.3f}"
    assert {len(row) for row in cells.values()} == {len(metrics.METRIC_NAMES)}


def test_rows_against_rescaled_and_denoised_sources(data, capsys):
    """Of an image with printed noise the denoised sources explain less."""
    arguments = ["--data", str(data), "--sets", "set@N", "--markdown"]
    shown = []
    for more in ([], ["--rescale"], ["--denoise"]):
        reference_rows.main([*arguments, *more])
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 3
    (pair,) = read_pairs(data, "set@1D")
    plain, denoised = (reference_rows.score(pair.luma, pair, each) for each in (False, True))
    place = list(metrics.METRIC_NAMES).index("VIF")
    assert denoised[place] < plain[place]


def test_images_that_exist_are_a_row_of_the_pairs_that_have_them(data, tmp_path, capsys):
    made = tmp_path / "made"
    for pair in read_pairs(data, "set@N", 1, as_stored=True):
        write_image(str(made / "2N.png"), np.maximum(pair.ir, pair.luma))
    options = ["--data", str(data), "--sets", "set", "--markdown"]
    reference_rows.main([*options, "--images", f"{made}=teacher"])
    printed = capsys.readouterr().out
    assert "**set, 1 pairs**" in printed
    rows = {row.split("|")[1].strip(): row.split("|")[2:] for row in printed.splitlines()[1:]}
    assert rows["teacher"] == rows["maximum"]
    with pytest.raises(SystemExit, match="found none"):
        reference_rows.main([*options, "--images", str(tmp_path / "nowhere")])
