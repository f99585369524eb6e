"""`fuse_bag` and `evaluate_bag` over many bags: on this machine, and on a Dask cluster."""

import csv
import json
import shutil

import pytest
from bag_recording import needs_rosbags
from made_bags import make_bag, read_whole, write_pairs

from irvis_fusion_ros.commands import evaluate_bag, fuse_bag

pytestmark = needs_rosbags
PARAMETERS = ["-p", "backend:=numpy", "-p", "threads:=1"]
QUICK = ["--detector", "none", "--measured-frames", "1", "--no-gif", "--metrics", "SSIM,SCD"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Five bags: three have one name, and one is cut off."""
    folder = tmp_path_factory.mktemp("recorded")
    pairs = write_pairs(tmp_path_factory.mktemp("pairs"))
    for number, day in enumerate(("day1", "day2", "day3")):
        (folder / day).mkdir()
        make_bag(folder / day / "street", pairs, 0.2, "mcap", seed=number, vis_jitter_s=0.001)
    make_bag(folder / "day1" / "dawn", pairs, 0.2, "sqlite3", ir_rate_hz=9.0)
    (folder / "day3" / "cut").mkdir()
    whole = (folder / "day3" / "street" / "street.mcap").read_bytes()
    (folder / "day3" / "cut" / "cut.mcap").write_bytes(whole[:60])
    return folder


@pytest.fixture
def bags(recorded, tmp_path):
    """The five bags in the order of a shell's `day*/*`."""
    shutil.copytree(recorded, tmp_path / "bags")
    return sorted((tmp_path / "bags").glob("day*/*"))


def run(command, bags, output, *arguments):
    return command.main([*map(str, bags), "--output", str(output), *PARAMETERS, *arguments])


def rows_of(output):
    with open(output / "runs.csv", newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def changed(output):
    return {path: path.stat().st_mtime_ns for path in output.glob("[!.]*/*")}


def test_five_bags_are_fused_and_only_the_missing_ones_again(bags, tmp_path, capsys):
    fused = tmp_path / "fused"
    assert run(fuse_bag, bags, fused, "--jobs", "2") == 1
    rows = rows_of(fused)
    assert {name: row["status"] for name, row in rows.items()} == {
        "dawn": "done", "street": "done", "street_2": "done", "cut": "failed", "street_3": "done",
    }  # fmt: skip
    assert "to be a readable ROS 2 bag" in rows["cut"]["error"]
    assert "cut: failed: expected" in capsys.readouterr().err
    # The bytes of a run with one bag, and each bag in the place of its own row.
    for name in ("street", "street_2", "street_3"):
        alone = tmp_path / "alone" / name
        assert run(fuse_bag, [rows[name]["source"]], alone, "--quiet") == 0
        assert read_whole(fused / name) == read_whole(alone)
        assert rows[name]["frames"] == rows[name]["fused"] == "6"

    # The cut bag is copied again, and one result is lost.
    before = changed(fused)
    shutil.copy(bags[-1] / "street.mcap", bags[-2] / "cut.mcap")
    shutil.rmtree(fused / "street_2")
    assert run(fuse_bag, bags, fused, "--jobs", "1", "--quiet") == 0
    states = {name: row["status"] for name, row in rows_of(fused).items()}
    assert states == {
        "dawn": "done before", "street": "done before", "street_2": "done", "cut": "done",
        "street_3": "done before",
    }  # fmt: skip
    after = changed(fused)
    again = {path.parent.name for path in after if before.get(path) != after[path]}
    assert again == {"street_2", "cut"}
    total = json.loads((fused / "summary.json").read_text())["total"]["counts"]
    assert total["frames"] == 30


def test_other_parameters_do_not_pass_for_the_same_run(bags, tmp_path):
    fused = tmp_path / "fused"
    two = [bags[0], bags[1]]
    assert run(fuse_bag, two, fused, "--jobs", "2", "--quiet") == 0
    assert run(fuse_bag, two, fused, "--jobs", "2", "--quiet", "--copy", "none") == 1
    assert "--overwrite" in rows_of(fused)["street"]["error"]
    more = ["--copy", "none", "--overwrite", "--quiet", "--jobs", "2"]
    assert run(fuse_bag, two, fused, *more) == 0
    assert {m[0] for m in read_whole(fused / "street")} == {
        "/fused/image_raw",
        "/fused/camera_info",
    }


def test_an_incomplete_bag_has_its_own_status(bags, tmp_path):
    with open(bags[1] / "street.mcap", "r+b") as stream:
        stream.truncate((bags[1] / "street.mcap").stat().st_size * 3 // 4)
    fused = tmp_path / "fused"
    assert run(fuse_bag, bags[:2], fused, "--jobs", "2", "--quiet") == 2
    assert [row["status"] for row in rows_of(fused).values()] == ["done", "incomplete"]


def test_reports_of_a_cluster_are_those_of_one_machine(bags, tmp_path, dask_cluster):
    for library in ("jinja2", "matplotlib", "PIL"):
        pytest.importorskip(library, reason="makes reports: pip install '.[evaluate]'")
    reports, alone = tmp_path / "reports", tmp_path / "alone"
    bags = bags[1:4]
    assert run(evaluate_bag, bags, reports, *QUICK, "--scheduler", dask_cluster) == 1
    rows = rows_of(reports)
    assert [name for name, row in rows.items() if row["status"] != "done"] == ["cut"]
    assert run(evaluate_bag, bags[:1], alone, *QUICK, "--jobs", "1", "--quiet") == 0
    for table in ("frames.csv", "references.csv"):
        assert (reports / "street" / table).read_text() == (alone / table).read_text()
    measured = json.loads((alone / "summary.json").read_text())["rows"]["default"]["metrics"]
    assert float(rows["street"]["SSIM"]) == pytest.approx(measured["SSIM"]["mean"], rel=1e-5)
    page = (reports / "index.html").read_text()
    assert 'href="street_2/report.html"' in page and "2 done, 1 failed" in page
    # Once more: what is finished is kept.
    before = changed(reports)
    assert run(evaluate_bag, bags, reports, *QUICK, "--scheduler", dask_cluster, "--quiet") == 1
    assert changed(reports) == before
    states = [row["status"] for row in rows_of(reports).values()]
    assert states.count("done before") == 2


@pytest.mark.parametrize(
    "command, more, words",
    [
        (evaluate_bag, ["--live", "--jobs", "2"], "one bag at a time with --live"),
        (evaluate_bag, ["--frame-names", "names.txt"], "one bag with --frame-names"),
        (evaluate_bag, ["--jobs", "-1"], "--jobs of 0 or more"),
        (fuse_bag, ["--jobs", "-1"], "--jobs of 0 or more"),
        (fuse_bag, ["-p", "no_such:=1"], "no_such"),
    ],
)
def test_options_that_are_wrong_for_all_are_no_rows(tmp_path, command, more, words, capsys):
    assert run(command, ["a", "b"], tmp_path / "out", *more) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
