"""Jobs side by side, on this machine and on a local Dask cluster of two workers."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from irvis_fusion_core import __version__
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fleet import pool
from irvis_fusion_core.fleet.job import Job
from irvis_fusion_core.fleet.pool import run_jobs


@pytest.fixture(params=["processes", "cluster"])
def scheduler(request):
    """None for processes of this machine, or the address of a cluster."""
    return request.getfixturevalue("dask_cluster") if request.param == "cluster" else None


def jobs_of(folder, *names):
    """A job for each name, which begins with what it does."""
    for name in names:
        (folder / name).mkdir()
    options = {name: {"what": name.split("-")[0], "folder": str(folder / name)} for name in names}
    return [Job(name, "fleet_jobs", options[name], str(folder)) for name in names]


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def test_every_job_has_a_result_whatever_becomes_of_it(tmp_path, scheduler):
    found = {}
    jobs = jobs_of(tmp_path, "good-1", "fail", "bug", "crash", "incomplete", "good-2")
    run_jobs(jobs, 2, scheduler, lambda job, result: found.update({job.name: result}))
    assert {name: result.exit_status for name, result in found.items()} == {
        "good-1": 0, "fail": 1, "bug": 1, "crash": 1, "incomplete": 2, "good-2": 0,
    }  # fmt: skip
    assert found["fail"].error == "expected a good bag, found a bad one"
    assert found["bug"].error.startswith("ZeroDivisionError: ")
    assert "Traceback" in found["bug"].log
    assert "SIGSEGV" in found["crash"].error and "about to crash" in found["crash"].error
    assert found["good-1"].facts["counts"] == {"frames": 7}
    assert found["good-1"].log == "it went well\n"
    processes = {found[name].facts["values"]["process"] for name in ("good-1", "good-2")}
    assert len(processes | {os.getpid()}) == 3  # each has one of its own


def test_ctrl_c_ends_what_runs_and_keeps_what_is_finished(tmp_path, scheduler):
    jobs = jobs_of(tmp_path, "good-1", "wait-1", "wait-2", "wait-3", "good-2")
    running = [tmp_path / name for name in ("wait-1", "wait-2")]
    found = {}

    def press_ctrl_c(job, result):
        found[job.name] = result
        if job.name == "good-1":
            for folder in running:
                wait_for(folder / "waiting")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, 2, scheduler, press_ctrl_c)
    assert found.pop("good-1").exit_status == 0
    assert set(found) == {"wait-1", "wait-2", "wait-3", "good-2"}
    assert {result.exit_status for result in found.values()} == {130}
    for folder in running:
        assert (folder / "interrupted").exists()  # as by Ctrl-C, not killed


def test_a_job_ends_when_the_process_that_started_it_is_killed(tmp_path):
    (job,) = jobs_of(tmp_path, "wait")
    code = f"from irvis_fusion_core.fleet.job import *; run_job(Job(*{tuple(job)!r}), bool)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        wait_for(tmp_path / "wait" / "waiting")
        parent.kill()
    wait_for(tmp_path / "wait" / "interrupted")


def test_a_module_of_the_working_folder_does_not_take_the_place_of_another(tmp_path):
    (tmp_path / "argparse.py").write_text("raise SystemExit('the wrong module')")
    found = []
    run_jobs(jobs_of(tmp_path, "good"), 1, None, lambda job, result: found.append(result))
    assert found[0].exit_status == 0, found[0]


def test_a_folder_that_a_machine_lacks_is_a_result(tmp_path):
    (job,) = jobs_of(tmp_path, "good")
    found = []
    lost = job._replace(folder=str(tmp_path / "gone"))
    run_jobs([lost], 1, None, lambda job, result: found.append(result))
    assert found[0].exit_status == 1 and "gone" in found[0].error


def test_a_worker_with_another_version_says_so(dask_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "__version__", "0.0.1")
    found = []
    run_jobs(jobs_of(tmp_path, "good"), 1, dask_cluster, lambda job, result: found.append(result))
    assert found[0].exit_status == 1
    assert f"expected irvis_fusion 0.0.1 on the worker, found {__version__}" in found[0].error
    assert not Path(tmp_path, "good", "begun").exists()


def test_no_scheduler_and_no_dask_are_named(monkeypatch):
    monkeypatch.setattr(pool, "CONNECT_S", 0.5)
    if pool.importlib.util.find_spec("distributed") is not None:
        with pytest.raises(ConfigurationError, match="a Dask scheduler at tcp://127.0.0.1:9"):
            run_jobs([], 1, "tcp://127.0.0.1:9", print)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match="pip install distributed"):
        run_jobs([], 1, "tcp://127.0.0.1:9", print)
