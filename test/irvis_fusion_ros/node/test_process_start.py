"""The node's process in its first moments: signals while it imports, a log folder, its name."""

import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from graph import PATIENCE_S, start_process

from irvis_fusion_ros.running_node.environment import NODE_MODULE

NODE = ["-m", NODE_MODULE]


def wait_until_it_catches_signals(process):
    """Wait until a process has handlers of its own (Linux)."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        status = Path(f"/proc/{process._process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        # Python itself has a handler for SIGINT from its start on, but none for SIGTERM.
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        process.check_running()
        assert time.monotonic() < end_s
        time.sleep(0.001)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("later_s", [0.0, 0.3])
def test_a_signal_while_it_imports_ends_it_in_order(graph, number, later_s):
    process = start_process("node", NODE, graph.domain, graph.tmp_path / "node.log")
    graph.processes.append(process)
    wait_until_it_catches_signals(process)
    time.sleep(later_s)
    assert process.stop(number) == 0
    assert "Traceback" not in process.log() and "Error" not in process.log()


def test_a_log_folder_that_cannot_be_written_is_said_and_costs_nothing(graph):
    file = graph.tmp_path / "file"
    file.touch()
    folder = file / "log"  # which root cannot create either
    graph.start_node(environment={"ROS_LOG_DIR": str(folder)})
    graph.wait_for_named("log folder")
    assert f"no log file can be written in {folder} (" in graph.fusion.log()
    assert "set ROS_LOG_DIR" in graph.value("messages", "log folder")
    assert graph.fusion.stop() == 0


def test_two_nodes_of_one_name_warn_and_one_that_was_killed_does_not(graph):
    first = graph.start_node()
    graph.wait_for(lambda: graph.level("output") == 0, what="a report")
    second = start_process("second node", NODE, graph.domain, graph.tmp_path / "second.log")
    graph.processes.append(second)
    said = "2 nodes are named /fusion_node: "
    for process in (first, second):
        graph.wait_for(lambda process=process: said in process.log(), what="the warning")
    graph.wait_for(lambda: graph.level("output") == 1, what="the diagnosis")
    assert "-r __node:=OTHER" in graph.statuses["output"].message
    for process in (first, second):
        assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    graph.statuses.clear()
    graph.start_node()  # as respawn would
    graph.wait_for_report()
    assert graph.level("output") == 0 and said not in graph.fusion.log()
