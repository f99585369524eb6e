"""What the log says of the engine's state."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node.engine_state import (
    FAILED,
    LOADING,
    ON_TRIAL,
    READY,
    WARMING_UP,
    EngineLog,
)


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


def test_a_failure_is_told_once_however_often_the_engine_is_opened_again():
    log = Log()
    engine_log = EngineLog(lambda: log)
    for _ in range(5):
        engine_log.on_state(LOADING, "opening the engine")
        engine_log.on_state(FAILED, "no model")
    engine_log.on_state(LOADING, "opening the engine")
    engine_log.on_state(READY, "numpy")
    told = [
        "engine loading: opening the engine",
        "engine failed: no model; ",
        "engine ready: numpy",
    ]
    assert len(log.lines) == 3 and all(map(str.startswith, log.lines, told))
    for _ in range(5):  # opens each time, and fails at each frame
        engine_log.on_state(FAILED, "failed 3 times: device lost")
        engine_log.on_state(LOADING, "opening the engine")
        engine_log.on_state(READY, ON_TRIAL)
        engine_log.on_state(WARMING_UP, "640x480")
        engine_log.on_state(READY, "")
    engine_log.on_state(READY, "again, opened 5 times")
    assert len(log.lines) == 5 and "device lost" in log.lines[3]
    assert log.lines[4] == "engine ready: again, opened 5 times"
    engine_log.on_state(FAILED, "failed 3 times: device lost")
    assert len(log.lines) == 6
