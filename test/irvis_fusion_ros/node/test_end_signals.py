"""A process that spins until a signal ends in its own order, also in the middle of its work."""

import os
import signal
import subprocess
import sys

import pytest
from graph import ROOT

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

PROGRAM = """
import sys, time
import rclpy
from irvis_fusion_ros.node import end_signals

received = end_signals.init([])
node = rclpy.create_node("spinning")

def work():
    print("at work", flush=True)
    time.sleep(0.3)
    assert rclpy.ok()  # a signal has not taken the context away

node.create_timer(0.001, work)
end_signals.spin(node, received)
print("ended by", received[0], rclpy.ok(), flush=True)
rclpy.shutdown()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_spinning_and_leaves_the_context(number):
    environment = dict(os.environ, ROS_DOMAIN_ID=str(1 + os.getpid() % 100))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, error
    assert out.splitlines()[-1] == f"ended by {int(number)} True"


def test_what_a_callback_raises_is_not_hidden():
    program = PROGRAM.replace("time.sleep(0.3)", "raise ValueError('broken')")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "ValueError: broken" in done.stderr
