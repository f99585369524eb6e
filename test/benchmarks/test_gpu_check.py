"""The GPU check without a GPU: engines of the CPU and stand-ins take the place of its engines."""

import json

import numpy as np
import pytest

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check import engines, programs, wheels
from benchmarks.gpu_check.engines import Case
from benchmarks.gpu_check.report import FAILED, PASSED, SKIPPED, Section, to_markdown, verdict
from irvis_fusion_core.backends.cuda_device import find_gpu
from irvis_fusion_core.errors import EngineError
from irvis_fusion_core.fusion import RealtimeFusion

SMALL = Case("onnxruntime", "nano", "fp32", size=(48, 64))


def on_the_cpu(case):
    return RealtimeFusion(case.model, "onnxruntime", thermal=None, precision=case.precision)


class Wrong:
    """A fusion whose images are `by` levels off, and which keeps `leak` bytes a frame."""

    def __init__(self, case, by=0, leak=0):
        self.inner, self.by, self.leak, self.kept = on_the_cpu(case), by, leak, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.inner.close()

    def fuse_frame(self, ir, vis):
        self.kept.append(np.ones(self.leak, np.uint8))
        fused = self.inner.fuse_frame(ir, vis).astype(int)
        return np.where(fused > 128, fused - self.by, fused + self.by).astype(np.uint8)


@pytest.mark.parametrize("by, state", [(0, PASSED), (1, PASSED), (2, FAILED)])
def test_images_agree_within_one_grey_level(zoo, by, state):
    pytest.importorskip("onnxruntime", reason="the reference of this test")
    section = engines.agreement([SMALL], open_case=lambda case: Wrong(case, by))
    assert section.state == state
    (row,) = section.rows
    assert row[:6] == ["onnxruntime", "nano", "fp32", "auto", "yes", "64x48"]
    assert row[6] == str(by) and (float(row[7]) > 0) == (by > 1)


def test_an_engine_that_does_not_open_is_a_row_and_not_the_end(zoo):
    pytest.importorskip("onnxruntime", reason="the reference of this test")

    def open_case(case):
        if case.model == "nano":
            return on_the_cpu(case)
        raise EngineError("out of memory")

    section = engines.agreement([SMALL, SMALL._replace(model="base")], open_case=open_case)
    assert section.state == FAILED and len(section.rows) == 2
    assert section.rows[0][-1] == "" and section.rows[1][-1] != ""


def test_cases_that_the_time_did_not_allow_are_counted(zoo):
    pytest.importorskip("onnxruntime", reason="the reference of this test")
    turns = iter([False, True, True])
    cases = [SMALL, SMALL._replace(size=(49, 63)), SMALL._replace(size=(50, 62))]
    section = engines.agreement(cases, lambda: next(turns), open_case=on_the_cpu)
    assert len(section.rows) == 1 and "2 cases were not run" in section.reason
    assert engines.agreement([], open_case=on_the_cpu).state == SKIPPED


def test_all_shipped_files_memories_and_both_graph_modes_are_cases(monkeypatch):
    monkeypatch.setattr(engines, "installed_packages", lambda: ["cuda_python", "pycuda"])
    cases = list(engines.all_cases(["torch", "tensorrt"]))
    for backend, precisions in (("torch", {"fp32", "fp16"}), ("tensorrt", {"fp16", "int8"})):
        for model in ("nano", "small"):
            mine = [c for c in cases if (c.backend, c.model) == (backend, model)]
            assert precisions <= {case.precision for case in mine}
            assert {case.size for case in mine} == set(engines.SIZES)
    memories = {(c.memory, c.cuda_graph) for c in cases if c.backend == "tensorrt"}
    assert {(m, g) for m in ("cuda_python", "pycuda") for g in (True, False)} < memories
    assert any(h % 2 and w % 2 for h, w in engines.SIZES)  # an odd size


@pytest.mark.parametrize("leak, state", [(0, PASSED), (8 << 20, FAILED)])
def test_memory_that_grows_with_the_frames_is_found(zoo, leak, state):
    pytest.importorskip("onnxruntime", reason="the engine of this test")
    open_case = lambda case: Wrong(case, leak=leak)  # noqa: E731
    section = engines.memory_growth([SMALL], 30, 10, open_case)
    assert section.state == state
    if leak:
        assert float(section.rows[0][-2]) > 100  # of 160 MB: freed memory of before is used first


def test_times_are_beside_the_yardsticks(zoo):
    pytest.importorskip("onnxruntime", reason="the engine of this test")
    section = engines.times(["onnxruntime"], [(48, 64)], "cpu", rounds=2)
    assert section.state == PASSED and "cpu" in section.reason
    assert [row[1] for row in section.rows] == ["yardstick", "onnxruntime", "onnxruntime"]
    assert section.rows[0][-1] == "1.0x"
    assert engines.times([]).state == SKIPPED


def test_results_of_marked_tests_are_told(tmp_path):
    for name, body, state in (
        ("good", "assert 1", PASSED),
        ("bad", "assert 0", FAILED),
        ("away", "pytest.skip('no GPU')", SKIPPED),
    ):
        folder = tmp_path / name
        folder.mkdir()
        lines = ["import pytest", "@pytest.mark.gpu", "def test_it():", f"    {body}"]
        (folder / f"test_{name}.py").write_text("\n".join(lines))
        section = programs.marked_tests(60.0, str(folder))
        assert section.state == state, section.reason
        word = {PASSED: "1 passed", FAILED: "1 failed", SKIPPED: "1 skipped"}[state]
        assert word in section.reason


def test_training_commands_are_ones_that_the_trainer_takes(tmp_path, monkeypatch):
    pytest.importorskip("lightning", reason="training needs lightning")
    from training.options import make_parser

    seen = []

    def run(arguments, _):
        options = make_parser().parse_args(arguments[2:])
        seen.append(options)
        (tmp_path / f"run_{'mixed' if options.use_amp else 'fp32'}").mkdir()
        (tmp_path / f"run_{'mixed' if options.use_amp else 'fp32'}" / "best_model.x").touch()
        return 0, ""

    monkeypatch.setattr(programs, "run", run)
    section = programs.training(60.0, tmp_path)
    assert section.state == PASSED and [row[0] for row in section.rows] == ["fp32", "mixed"]
    assert [options.accelerator for options in seen] == ["gpu", "gpu"]
    assert len(list((tmp_path / "train" / "IR").iterdir())) == 8
    monkeypatch.setattr(programs, "run", lambda *_: (1, "no CUDA\n\n"))
    section = programs.training(60.0, tmp_path)
    assert section.state == FAILED and "status 1: no CUDA" in section.reason
    monkeypatch.setattr(programs, "run", lambda *_: (None, ""))
    assert "did not end in time" in programs.training(60.0, tmp_path).reason


def test_a_teacher_draws_an_image(monkeypatch):
    monkeypatch.setattr(programs, "TEACHER_SIZE", (32, 48))
    section = programs.teacher("cpu", "small")
    assert section.state == PASSED and section.rows[0][0] == "48x32"


NODE_OUTPUT = """| node | frames in | out |
| fusion_node | 300 | 300 |

290 of 300 frames that came out were fused, others passed

| promised | limit | found | holds |
| every visible frame out once, in order | 0 lost | {} |
"""


@pytest.mark.parametrize(
    "status, output, state",
    [
        (0, NODE_OUTPUT.format("0 lost, 0 twice | yes"), PASSED),
        (0, NODE_OUTPUT.format("3 lost, 0 twice | NO"), FAILED),
        (0, NODE_OUTPUT.format("0 lost | yes").replace("290", "20"), FAILED),
        (0, "nothing", FAILED),
        (1, "EngineError: no", FAILED),
    ],
)
def test_the_node_has_to_fuse_and_to_lose_nothing(monkeypatch, status, output, state):
    pytest.importorskip("rclpy", reason="the node needs ROS: pip install '.[ros]'")
    monkeypatch.setattr(programs, "run", lambda *_: (status, output))
    assert programs.node("torch", 1.0, 10.0).state == state


def test_a_section_that_dies_is_a_row(monkeypatch):
    monkeypatch.setattr(programs, "run", lambda *_: (-11, "Fatal Python error\n"))
    section = command.run_apart("times", 5.0)
    assert section.state == FAILED and "status -11; Fatal Python error" in section.reason
    monkeypatch.setattr(programs, "run", lambda *_: (None, ""))
    assert "its time was up" in command.run_apart("times", 5.0).reason


def test_the_report_is_there_after_each_section(tmp_path):
    outcomes = {"images": PASSED, "times": FAILED, "node": SKIPPED}
    given = []

    def run_section(name, seconds):
        given.append(seconds)
        if given[1:]:
            assert (tmp_path / "gpu_report.md").exists()
        return Section(name, outcomes[name], "because | of", ["a"], [["1"]])

    assert command.check(tmp_path, list(outcomes), 120.0, True, run_section) == FAILED
    assert sum(given) == pytest.approx(120.0)
    report = json.loads((tmp_path / "gpu_report.json").read_text())
    assert report["result"] == FAILED
    assert [s["state"] for s in report["sections"]] == list(outcomes.values())
    assert "because / of" in (tmp_path / "gpu_report.md").read_text()


@pytest.mark.skipif(find_gpu()[0] is not None, reason="there is a GPU here")
def test_without_a_gpu_everything_is_named_as_skipped(tmp_path, capsys):
    assert command.main(["--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "gpu_report.json").read_text())
    assert report["result"] == SKIPPED
    assert {(s["state"], s["reason"]) for s in report["sections"]} == {(SKIPPED, "no GPU")}
    assert [s["name"] for s in report["sections"]] == list(command.SECTIONS)
    assert "skipped: see" in capsys.readouterr().out


def test_the_verdict_needs_a_section_that_ran():
    section = Section("x", PASSED, "y", ["a", "b"], [["1", "2"]], 3.0)
    assert verdict([section]) == PASSED and verdict([]) == SKIPPED
    assert "| 1 | 2 |" in to_markdown({"GPU": "H"}, [section])


def test_large_wheels_travel_in_parts(tmp_path):
    content = bytes(range(256)) * 10
    (tmp_path / "big.whl").write_bytes(content)
    (tmp_path / "small.whl").write_bytes(b"x")
    wheels.split(tmp_path, 1000)
    names = sorted(path.name for path in tmp_path.iterdir())
    parts = ["big.whl.part00", "big.whl.part01", "big.whl.part02"]
    assert names == [*parts, "small.whl", "sums.json"]
    assert max(path.stat().st_size for path in tmp_path.glob("*.part*")) == 1000
    assert wheels.main(["join", str(tmp_path)]) == 0
    assert (tmp_path / "big.whl").read_bytes() == content
    assert not list(tmp_path.glob("*.part*"))
    assert wheels.join(tmp_path) == []  # again


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_wheel_that_did_not_arrive_whole_is_refused(tmp_path, capsys, harm):
    (tmp_path / "big.whl").write_bytes(bytes(2500))
    wheels.split(tmp_path, 1000)
    part = tmp_path / "big.whl.part01"
    if harm == "missing":
        part.unlink()
    else:
        part.write_bytes(b"1" * 1000)
    assert wheels.main(["join", str(tmp_path)]) == 1
    assert "big.whl" in capsys.readouterr().err
    assert not (tmp_path / "big.whl").exists() and (tmp_path / "big.whl.part00").exists()


def test_a_program_that_does_not_end_is_killed_with_what_it_started():
    """A child that outlives it would hold its output open, and the GPU."""
    child = "import time; print('begins', flush=True); time.sleep(20); print('ends by itself')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    status, output = programs.run(["-c", code], 3.0)
    assert status is None and "ends by itself" not in output
