"""What the log says of the engine's state."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node.engine_state import FAILED, LOADING, READY, WARMING_UP, EngineLog


class Log:
    """A logger that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)

    warning = error = info


def test_a_camera_that_changes_its_size_at_each_frame_does_not_fill_the_log():
    log = Log()
    engine_log = EngineLog(lambda: log)
    engine_log.on_state(LOADING, "opening the engine")
    engine_log.on_state(READY, "")
    for width in range(100):
        engine_log.on_state(WARMING_UP, f"{width}x480")
        engine_log.on_state(READY, "")
    assert len(log.lines) == 4
    engine_log.on_state(FAILED, "lost")
    engine_log.on_state(LOADING, "opening the engine")
    engine_log.on_state(READY, "")
    assert [line.split(":")[0] for line in log.lines[4:]] == [
        "engine failed",
        "engine loading",
        "engine ready",
    ]
