"""The counting of what a frame passes through: the whole way is seen, and limits are kept to."""

import re

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from benchmarks import frame_path


@pytest.fixture(scope="module")
def frames():
    return frame_path.record([], "nano")


def test_each_frame_is_followed_from_the_callback_to_the_publisher(frames):
    assert len(frames) == frame_path.RECORDED
    for frame in frames:
        calls = list(frame)
        assert {call.thread for call in calls} == {"executor", "worker"}
        files = {call.file for call in calls}
        # One of each end, and the fusion between them.
        assert any(file.startswith("irvis_fusion_ros/node/") for file in files)
        assert {"irvis_fusion_core/backends/protocol.py"} < files
        assert all(file.startswith(("irvis_fusion_core/", "irvis_fusion_ros/")) for file in files)


def test_the_totals_are_those_of_the_printed_table(frames, capsys):
    found = frame_path.report(frames[-1])
    printed = capsys.readouterr().out
    rows = re.findall(r"^(?:executor|worker) +\d+  (\S+):\d+ +\S+", printed, re.MULTILINE)
    assert found == {"files": len(set(rows)), "functions": len(rows)}


@pytest.mark.parametrize(("limit", "status"), [(1, 1), (1000, 0)])
def test_a_limit_that_is_exceeded_is_an_error(frames, monkeypatch, capsys, limit, status):
    monkeypatch.setattr(frame_path, "record", lambda parameters, model: frames)
    assert (
        frame_path.main(["--limit-functions", str(limit), "--limit-files", str(limit)]) == status
    )
    assert ("expected at most 1 files" in capsys.readouterr().out) == bool(status)
