"""Engines are imported without what they bring along unasked."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from irvis_fusion_core.optional_packages import installed_version

# Reports every attempt to resolve or reach another host, at the exit of the process too.
GUARD = """
import socket, sys

def report(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto"):
        print("NETWORK", event, arguments, flush=True)

sys.addaudithook(report)
"""
FUSE = """
import numpy as np
from irvis_fusion_core import RealtimeFusion

with RealtimeFusion("nano", "openvino", threads=1) as fusion:
    fusion.fuse_frame(np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.uint8))
assert sys.modules["openvino_telemetry"] is None
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", GUARD + code], capture_output=True, text=True, timeout=120
    )


def test_the_guard_sees_a_connection():
    found = run("socket.socket().connect_ex(('127.0.0.1', 9))")
    assert "NETWORK socket.connect" in found.stdout


def test_openvino_contacts_no_host():
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs openvino")
    found = run(FUSE)
    assert found.returncode == 0, found.stderr
    assert "NETWORK" not in found.stdout


def test_versions_are_those_of_the_packages():
    assert installed_version("numpy") == np.__version__
    assert installed_version("no_such_package") is None
    assert installed_version("no_such.module") is None
