"""Which packages the check for aarch64 asks for, and what it says."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "aarch64_packages.py"


@pytest.fixture
def script() -> ModuleType:
    """The script as a module."""
    pytest.importorskip("pip._vendor.packaging.requirements", reason="needs pip")
    spec = importlib.util.spec_from_file_location("aarch64_packages", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands, of which none is run: python3-pil and cuda-python for Python 3.12 are missing."""
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        output = "Candidate: (none)" if command[-1] == "python3-pil" else "Candidate: 1.0"
        no_wheel = "3.12" in command and command[-1].startswith("cuda-python")
        return subprocess.CompletedProcess(command, int(no_wheel), output)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_each_missing_package_is_named(
    script: ModuleType,
    asked: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert script.main() == 1
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first == "no arm64 package python3-pil"
    assert second.startswith("no aarch64 wheel of cuda-python<14,>=13")
    of_apt = [command[-1] for command in asked if command[0] == "apt-cache"]
    assert {"ros-humble-rclpy", "ros-humble-cv-bridge", "libopenblas-dev"} <= set(of_apt)
    assert not any("hypothesis" in name for name in of_apt)  # of the tests alone


def test_wheels_are_those_of_the_python_of_each_jetpack(
    script: ModuleType, asked: list[list[str]]
) -> None:
    names = {
        python: {each.name for each in script.requirements(python)} for python in ("3.8", "3.10")
    }
    assert names["3.8"] == {"numpy", "opencv-python-headless", "pycuda"}
    assert names["3.10"] == {"numpy", "opencv-python-headless", "cuda-python"}
    script.main()
    wheels = [command for command in asked if "download" in command]
    assert not any(command[-1].startswith("pycuda") for command in wheels)
    assert all("manylinux2014_aarch64" in command for command in wheels)
    assert any("manylinux_2_31_aarch64" in command for command in wheels if "3.8" in command)
    assert not any("manylinux_2_32_aarch64" in command for command in wheels if "3.8" in command)
