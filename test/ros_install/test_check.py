"""The steps of check.sh that need no ROS beyond its wheels; a ROS container runs all of them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("check.sh")


@pytest.mark.parametrize("steps", ["build arguments", "build fuses"])
def test_the_first_commands_of_a_ros_user(steps, tmp_path):
    for module in ("rclpy", "setuptools", "yaml"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}: source ROS, or pip install '.[dev]'")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = dict(
        os.environ,
        PATH=path,
        TMPDIR=str(tmp_path),
        ROS_DOMAIN_ID=str(1 + os.getpid() % 100),
        COLCON_LOG_LEVEL="error",
    )
    done = subprocess.run(
        ["bash", str(SCRIPT), *steps.split()],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and f"all passed: {steps}" in done.stdout, done.stdout


def test_it_stops_at_the_first_step_that_fails(tmp_path):
    script = tmp_path / "test" / "ros_install" / "check.sh"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT.read_text())  # beside no package
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    done = subprocess.run(
        ["bash", str(script), "build", "arguments"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "FAILED" in done.stdout and "=== arguments" not in done.stdout
