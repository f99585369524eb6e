"""The unit of systemd: it is well formed, says how the node ends, and runs without rights."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[1] / "config" / "systemd" / "irvis_fusion@.service"


@pytest.fixture(scope="module")
def service():
    """The section [Service]; of a key that comes several times, the last line."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    assert parser.sections() == ["Unit", "Service", "Install"]
    return parser["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_every_line(tmp_path):
    unit = tmp_path / "irvis_fusion@daemon.service"
    shutil.copy(UNIT, unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0 and unit.name not in done.stdout, done.stdout


def test_it_ends_by_the_signal_that_the_node_knows_and_starts_again(service):
    assert service["KillSignal"] == "SIGINT"
    assert service["Restart"] == "on-failure" and float(service["RestartSec"]) > 0
    assert service["StandardOutput"] == service["StandardError"] == "journal"
    assert "StartLimitIntervalSec=0" in UNIT.read_text(encoding="utf-8")


def test_it_is_not_root_and_writes_only_its_own_folders(service):
    assert service["User"] == "%i"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    wanted = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "RestrictSUIDSGID": "yes"}
    assert wanted.items() <= dict(service).items()


def test_the_command_starts_the_installed_node_with_its_arguments(service, tmp_path):
    """Bash runs the line as systemd hands it over, with stand-ins for ROS and the node."""
    assert service["ExecStart"].startswith("/bin/bash -c '")
    line = service["ExecStart"][len("/bin/bash -c '") : -1].replace("$$", "$")
    node = tmp_path / "lib" / "irvis_fusion" / "fusion_node"
    node.parent.mkdir(parents=True)
    node.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    node.chmod(0o755)
    ros2 = f"ros2() {{ [ $3 = irvis_fusion ] && echo {tmp_path}; }}\n"
    (tmp_path / "setup.bash").write_text(ros2)
    environment = {
        "PATH": "/usr/bin:/bin",
        "ROS_SETUP": str(tmp_path / "setup.bash"),
        "IRVIS_FUSION_ARGUMENTS": "-p model:=nano -r __ns:=/robot",
    }
    done = subprocess.run(["bash", "-c", line], env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stdout.split() == ["--ros-args", "-p", "model:=nano", "-r", "__ns:=/robot"]
