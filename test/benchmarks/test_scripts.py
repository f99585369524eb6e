"""Every script runs as `python benchmarks/X.py` and as `python -m benchmarks.X`.

A script with parts is a package, which runs in the second way only.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(
    path.stem for path in FOLDER.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()
)
PACKAGES = sorted(path.parent.name for path in FOLDER.glob("*/__main__.py"))
NEEDS = {"teacher_speedup": "torch", "frame_path": "rclpy"}


def helps(*ways):
    """The output of `python WAY --help` for each way, all at the same time."""
    # A sourced ROS is found through PYTHONPATH; our own packages have to be found without.
    others = [
        path
        for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if path and not (Path(path) / "irvis_fusion_core").is_dir()
    ]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(others)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [
        subprocess.Popen([sys.executable, *way, "--help"], cwd=ROOT, env=environment, **streams)
        for way in ways
    ]
    shown = [process.communicate() for process in running]
    assert {process.returncode for process in running} == {0}, shown
    return [out for out, _ in shown]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_its_help_both_ways(name):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    script = str(Path("benchmarks") / f"{name}.py")
    as_module, as_script = helps(["-m", f"benchmarks.{name}"], [script])
    assert "usage:" in as_script
    assert as_script.partition("\n\n")[2] == as_module.partition("\n\n")[2]


def test_packages_show_their_help():
    assert "robustness" in PACKAGES
    for name, shown in zip(PACKAGES, helps(*(["-m", f"benchmarks.{name}"] for name in PACKAGES))):
        assert "usage:" in shown and "--help" in shown, name
