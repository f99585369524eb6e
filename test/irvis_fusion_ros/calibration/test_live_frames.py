"""`irvis_fusion calibrate --live` beside publishers, and what it says where there are none."""

import time

import pytest

pytest.importorskip("yaml", reason="needs pyyaml")
pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")


def start(graph, tmp_path, topics, *options):
    from graph import start_process

    arguments = ["-m", "irvis_fusion_ros.commands.calibrate", "--live", *topics]
    arguments += ["--output", str(tmp_path / "node.yaml"), *options]
    process = start_process("calibrate", arguments, graph.domain, tmp_path / "calibrate.log")
    graph.processes.append(process)
    return process


def test_topics_are_paired_and_calibrated(graph, tmp_path):
    import numpy as np
    from two_cameras import corner_error, scene, truth

    from irvis_fusion_ros.parameters.settings_file import load_settings

    ir, vis = scene(2)
    process = start(
        graph,
        tmp_path,
        ("/ir/image_raw", "/vis/image_raw"),
        "--frames",
        "1",
        "--seconds",
        "60",
        "--scales",
        "0.9",
        "1.3",
    )
    until = time.monotonic() + 60
    while process.exit_status is None and time.monotonic() < until:
        stamp = graph.now()
        graph.send_ir(stamp, ir)
        graph.send_vis(stamp, vis)
        graph.spin(0.2)
    assert process.exit_status == 0, process.log()
    found = np.reshape(load_settings(str(tmp_path / "node.yaml")).registration.homography, (3, 3))
    assert corner_error(found, truth()) < 4.0


def test_without_publishers_it_says_so_and_writes_nothing(graph, tmp_path):
    process = start(graph, tmp_path, ("/no/ir", "/no/vis"), "--seconds", "1.5")
    graph.wait_for(lambda: process.exit_status is not None, what="the end")
    assert process.exit_status == 1
    assert "0 on /no/ir, 0 on /no/vis and no pair" in process.log()
    assert "nobody publishes" in process.log()
    assert not (tmp_path / "node.yaml").exists()
