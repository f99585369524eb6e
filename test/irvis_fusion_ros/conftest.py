"""Tests of the ROS side need rclpy and say so where it is missing."""

import os
import sys

import pytest

# Fields of messages are checked on Humble always, on Jazzy only so.
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def graph(tmp_path):
    """Give a test its own domain, with everything ended afterwards."""
    pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
    import graph as module

    joined = module.Graph(tmp_path)
    yield joined
    joined.close()
