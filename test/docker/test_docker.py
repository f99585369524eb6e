"""The containers, as far as they can be checked without building them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*ockerfile"))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile: name, rest with continued lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_each_run_is_valid_shell(dockerfile: Path) -> None:
    for name, rest in instructions(dockerfile):
        if name == "RUN":
            done = subprocess.run(["bash", "-n", "-c", rest], capture_output=True, text=True)
            assert done.returncode == 0, rest + done.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_process_is_not_root_and_is_asked_how_it_is(dockerfile: Path) -> None:
    found = instructions(dockerfile)
    assert [rest for name, rest in found if name == "USER"][-1] == "10001"
    if dockerfile.name != "gpu.Dockerfile":  # it has those of its base
        rest = dict(found)
        assert "useradd --create-home --uid 10001 " in str(found)
        assert rest["STOPSIGNAL"] == "SIGINT"
        checks = [r for n, r in found if n == "HEALTHCHECK"]
        assert "/health.py" in checks[0]


def test_what_is_copied_is_enough_to_build_the_package(tmp_path: Path) -> None:
    # Not imported: where something has imported distutils before, importing setuptools fails.
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setup.py needs setuptools")
    workspace = tmp_path / "ros2_ws"
    copies = [
        [
            rest
            for instruction, rest in instructions(ROOT / "docker" / name)
            if instruction == "COPY"
        ]
        for name in ("Dockerfile", "jetson.Dockerfile")
    ]
    assert copies[0] == copies[1]
    for *sources, target in map(str.split, copies[0]):
        if target.startswith("/"):
            continue
        (workspace / target).parent.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, workspace / target)
            else:
                (workspace / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, workspace / target)
    package = workspace / "src" / "irvis_fusion"
    command = [sys.executable, "setup.py", "-q", "install", "--prefix", str(tmp_path / "prefix")]
    command += ["--single-version-externally-managed", "--record", str(tmp_path / "record")]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    installed = (tmp_path / "record").read_text(encoding="utf-8")
    for file in ("models/nano_fp32.onnx", "lib/irvis_fusion/fusion_node", "fusion.launch.py"):
        assert file in installed


def test_the_entry_point_becomes_the_command(tmp_path: Path) -> None:
    """Signals reach the command: it has the process id of the entry point."""
    setup = tmp_path / "setup.bash"
    setup.write_text("export SOURCED=yes\n")
    script = tmp_path / "entrypoint.sh"
    text = (ROOT / "docker" / "entrypoint.sh").read_text(encoding="utf-8")
    assert "/ros2_ws/install/setup.bash" in text
    script.write_text(text.replace("/ros2_ws/install/setup.bash", str(setup)))
    command = ["bash", str(script), "bash", "-c", "echo $SOURCED $$"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate()
    assert output.split() == ["yes", str(process.pid)]


def test_the_services_of_compose_share_network_and_memory() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert set(services) == {"node", "bag", "foxglove"}
    for name in ("bag", "foxglove"):
        assert services[name]["ipc"] == services[name]["network_mode"] == "service:node"
    profile = services["node"]["environment"]["FASTDDS_DEFAULT_PROFILES_FILE"]
    assert (ROOT / "config" / Path(profile).name).is_file()
    assert services["foxglove"]["build"]["target"] == "viewer"
    assert (services["node"]["build"]["context"], services["node"]["ipc"]) == ("..", "shareable")
    assert all(port.startswith("127.0.0.1:") for port in services["node"]["ports"])
