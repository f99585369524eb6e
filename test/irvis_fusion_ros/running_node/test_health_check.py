"""The health check of the containers (docker/health.py), against the running node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from irvis_fusion_ros.running_node.environment import make_environment

HEALTH = Path(__file__).resolve().parents[3] / "docker" / "health.py"


def check_health(graph: Any, patience_s: float) -> tuple[int, str]:
    """Return exit status and output of the check; cameras that run go on meanwhile."""
    process = subprocess.Popen(
        [sys.executable, str(HEALTH), str(patience_s)],
        env=make_environment(graph.domain, dds_profile=False),
        stdout=subprocess.PIPE,
        text=True,
    )
    if graph.sent_vis:
        graph.play_until(lambda: process.poll() is not None, "the end of the health check")
    output, _ = process.communicate()
    return process.returncode, output.strip()


def test_the_health_check_asks_the_running_node(graph: Any) -> None:
    status, line = check_health(graph, 0.5)
    assert status == 1 and line.startswith("no report of a fusion node")
    graph.start_node()
    graph.wait_for(lambda: graph.level("fusion") == 2, what="the report that no image leaves")
    status, line = check_health(graph, 40.0)
    assert status == 1 and line.startswith("fusion_node: fusion: ")
    graph.play_until(lambda: graph.level("fusion") == 0, "a fused image")
    status, line = check_health(graph, 40.0)
    assert status == 0 and line.startswith("fusion_node: fusion: ")
