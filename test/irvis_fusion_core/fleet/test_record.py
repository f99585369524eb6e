"""What is finished is not done again; what has changed is."""

import os

import pytest

from irvis_fusion_core.fleet import record
from irvis_fusion_core.fleet.job import Job, run_job


@pytest.fixture
def job(tmp_path):
    """A job that has run once."""
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "bag.mcap").write_bytes(b"messages")
    (tmp_path / "out").mkdir()
    options = {"what": "good", "folder": str(tmp_path / "out")}
    finished = record.Run(str(tmp_path / "run.json"), {"x": (1, "a")}, (str(tmp_path / "bag"),))
    job = Job("one", "fleet_jobs", options, str(tmp_path), 1, {}, str(tmp_path / "out"), finished)
    first = run_job(job, bool)
    assert (first.exit_status, first.kept) == (0, False)
    return job


def runs(tmp_path):
    return len((tmp_path / "out" / "begun").read_text().splitlines())


def test_a_finished_run_is_kept_with_its_facts(job, tmp_path):
    again = run_job(job, bool)
    assert again.kept and again.exit_status == 0 and again.facts["counts"] == {"frames": 7}
    assert runs(tmp_path) == 1


def edit_record(folder):
    (folder / "run.json").write_text("{")


def grow_bag(folder):
    with open(folder / "bag" / "bag.mcap", "ab") as stream:
        stream.write(b"more")


def touch_bag(folder):
    os.utime(folder / "bag" / "bag.mcap", ns=(1, 1))


def add_to_bag(folder):
    (folder / "bag" / "bag_1.mcap").touch()


def damage_output(folder):
    (folder / "out" / "result.txt").write_text("Good")  # as long as before


def remove_output(folder):
    (folder / "out" / "result.txt").unlink()


CHANGES = [edit_record, grow_bag, touch_bag, add_to_bag, damage_output, remove_output]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_bag_or_output_is_seen(job, tmp_path, change):
    change(tmp_path)
    assert not run_job(job, bool).kept
    assert (tmp_path / "out" / "result.txt").read_text() == "good"
    assert run_job(job, bool).kept


def test_other_options_and_versions_are_other_runs(job, monkeypatch):
    other = job._replace(finished=job.finished._replace(options={"x": (1, "b")}))
    assert not run_job(other, bool).kept
    assert run_job(other, bool).kept
    monkeypatch.setattr(record, "__version__", "0.0.1")
    assert not run_job(other, bool).kept


def test_a_failed_run_is_done_again(job, tmp_path):
    failing = job._replace(options={**job.options, "what": "fail"})
    failing = failing._replace(finished=job.finished._replace(options={}))
    assert run_job(failing, bool).exit_status == run_job(failing, bool).exit_status == 1
    assert runs(tmp_path) == 3


def test_a_run_without_a_result_is_no_success(job, tmp_path):
    nothing = job._replace(output=str(tmp_path / "elsewhere"))
    result = run_job(nothing._replace(finished=job.finished._replace(options={})), bool)
    assert result.exit_status == 1 and "found none" in result.error


def test_files_that_options_name_are_inputs(tmp_path):
    model = tmp_path / "model.onnx"
    model.touch()
    options = {"model": [str(model)], "settings": ({"model": "auto", "n": 3, "dir": "/"},)}
    assert record.inputs_of(options) == (str(model),)
