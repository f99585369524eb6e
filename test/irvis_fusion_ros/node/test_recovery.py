"""An engine that fails while the node runs: images pass, it is opened again, told once."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from graph import wait_until_fusing


def test_an_engine_that_fails_while_it_runs_comes_back_without_a_person(graph):
    broken = graph.tmp_path / "broken"
    graph.start_node(environment={"REFERENCE_FAIL_WHILE": str(broken)})
    wait_until_fusing(graph)
    before = graph.fusion.log().count("fusion_node]: engine ")
    broken.touch()

    def tried():
        return int(graph.value("engine", "retries") or 0) >= 3 and graph.level("engine") == 2

    graph.play_until(tried, "the third retry")
    said = graph.statuses["engine"].message
    assert said.startswith("failed: failed 3 times: RuntimeError: device lost; opened again in ")
    assert not graph.is_fused(graph.fused[-1])
    log = graph.fusion.log()
    assert "engine failed" in log and log.count("fusion_node]: engine ") == before + 1
    broken.unlink()
    graph.play_until(lambda: "engine ready: again, opened" in graph.fusion.log(), "recovery")
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion")
    graph.wait_for_report()
    assert graph.level("engine") == 0 and graph.value("engine", "retries") == "0"
    assert graph.fusion.stop() == 0
