"""Every script runs as `python benchmarks/X.py` and as `python -m benchmarks.X`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if 'if __name__ == "__main__":' in path.read_text()
)
NEEDS = {"teacher_speedup": "torch", "training_speed": "lightning"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_its_help_both_ways(name):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    environment = {**os.environ, "COLUMNS": "100"}
    environment.pop("PYTHONPATH", None)
    ways = [["-m", f"benchmarks.{name}"], [str(Path("benchmarks") / f"{name}.py")]]
    running = [
        subprocess.Popen(
            [sys.executable, *way, "--help"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for way in ways
    ]
    shown = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], shown
    (as_module, _), (as_script, _) = shown
    assert "usage:" in as_script
    assert as_script.partition("\n\n")[2] == as_module.partition("\n\n")[2]
