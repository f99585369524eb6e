"""The demo: its arithmetic against known records, and the whole of it with real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from irvis_fusion_ros.commands import demo
from irvis_fusion_ros.demo.demo_report import make_stream, make_table

ROOT = Path(__file__).resolve().parents[3]
MS = 1_000_000


def records(latencies_ms, people=None):
    """Frames each 10 ms, and their arrivals; None is a frame that never came."""
    published = [{"stamp_ns": 10 * MS * i, "people": people} for i in range(len(latencies_ms))]
    arrivals = [
        {"stamp_ns": frame["stamp_ns"], "arrived_ns": frame["stamp_ns"] + int(ms * MS)}
        for frame, ms in zip(published, latencies_ms)
        if ms is not None
    ]
    return published, {"arrivals": arrivals, "detections": []}


def test_latency_rate_and_missing_frames_are_counted_within_the_window():
    published, record = records([999, 999, *[2.0] * 98, 7.0, None, 999])
    stream = make_stream(published, record, (20 * MS, 1020 * MS))
    assert (stream.published, stream.arrived, stream.missing) == (100, 99, 1)
    assert stream.rate_hz == pytest.approx(99.0)
    assert stream.p50_ms == pytest.approx(2.0)
    assert 2.0 < stream.p99_ms <= 7.0


def test_a_frame_that_arrives_twice_counts_once_and_foreign_stamps_do_not():
    published, record = records([1.0, 1.0])
    record["arrivals"] += [record["arrivals"][0], {"stamp_ns": 5, "arrived_ns": 6}]
    assert make_stream(published, record, (0, 20 * MS)).arrived == 2


def test_people_are_found_of_those_that_were_there():
    person, other = [10, 10, 40, 100], [200, 10, 40, 100]
    published, record = records([1.0, 1.0], people=[person, other])
    record["detections"] = [
        {"stamp_ns": 0, "people": [[12, 8, 42, 104]]},
        {"stamp_ns": 10 * MS, "people": [person, other]},
        {"stamp_ns": 77, "people": [person]},  # of no frame in the window
    ]
    assert make_stream(published, record, (0, 20 * MS)).people == "3 of 4 (75 %)"
    for frame in published:
        frame["people"] = None
    assert make_stream(published, record, (0, 20 * MS)).people == "1.50 an image"


def test_nothing_received_is_a_table_too():
    published, record = records([None, None])
    rows = make_table({"fused": make_stream(published, record, (0, 20 * MS))})
    assert rows[1][:5] == ["fused", "0.0", "2", "0", "2"]


def test_images_survive_the_message():
    pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
    from std_msgs.msg import Header

    from irvis_fusion_ros.demo.demo_cameras import make_image
    from irvis_fusion_ros.demo.demo_detector import draw, pixels_of

    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    message = make_image(pixels, "rgb8", Header())
    assert (message.height, message.width, message.step) == (6, 9, 27)
    np.testing.assert_array_equal(pixels_of(message), pixels)
    np.testing.assert_array_equal(draw(pixels_of(message), [])[..., ::-1], pixels)


def test_engine_options_become_parameters_of_the_node():
    from irvis_fusion_core.commands.demo import make_demo_parser

    options = make_demo_parser().parse_args(["--model", "small", "--threads", "2"])
    arguments = demo.node_arguments(options)
    assert "model:=small" in arguments and "threads:=2" in arguments
    assert not any(argument.startswith("device:=") for argument in arguments)
    assert f"__ns:={demo.NAMESPACE}" in arguments


def test_the_large_image_profile_is_found():
    assert demo.find_config("fastdds_large_images.xml") == str(
        ROOT / "config" / "fastdds_large_images.xml"
    )
    assert demo.find_config("no_such_file.xml") is None


def test_a_missing_record_and_bad_options_are_named(tmp_path, capsys):
    from irvis_fusion_core.errors import EngineError

    with pytest.raises(EngineError, match="cameras"):
        demo.load(str(tmp_path / "cameras"))
    (tmp_path / "vis").write_text(json.dumps({"arrivals": []}))
    assert demo.load(str(tmp_path / "vis")) == {"arrivals": []}
    assert demo.main(["--seconds", "0"]) == 1
    assert "above 0" in capsys.readouterr().err


def test_a_missing_ros_package_is_named(monkeypatch):
    monkeypatch.setattr(
        demo.importlib.util, "find_spec", lambda name: None if name == "rclpy" else name
    )
    assert "rclpy is not installed" in demo.why_no_ros()


def test_five_processes_show_the_node(student_models, tmp_path):
    """The whole demo, briefly: every frame has a fused or passed one at the consumer."""
    pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
    pytest.importorskip("onnxruntime")
    model = str(student_models / "nano_fp32.onnx")
    command = [sys.executable, "-m", "irvis_fusion_ros.commands.demo", "--output", str(tmp_path)]
    command += ["--model", model, "--backend", "onnxruntime", "--threads", "1", "--count", "2"]
    command += ["--seconds", "4", "--rate-hz", "10"]
    domain = str(1 + os.getpid() % 100)  # so that two runs of the tests do not meet
    environment = dict(os.environ, ROS_DOMAIN_ID=domain, PYTHONPATH=python_path())
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=220
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = re.search(r"^fused/image_raw +([\d.]+) +(\d+) +(\d+) +(\d+)", done.stdout, re.M)
    published, arrived, missing = (int(row.group(i)) for i in (2, 3, 4))
    assert 20 <= published <= 45 and arrived + missing == published
    assert missing <= 1  # the newest may still be on its way when the window closes
    assert re.search(r"once a second: .*\bfused \d+", done.stdout)
    for name in ("vis", "fused"):
        assert any((tmp_path / "node" / name).glob("*.png"))


def python_path():
    return os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
