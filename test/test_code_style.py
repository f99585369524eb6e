"""Format, lint, types and the oldest Python: what the tools say of every file."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    name
    for name in (
        "irvis_fusion_core",
        "irvis_fusion_ros",
        "launch",
        "training",
        "benchmarks",
        "test",
        "docker",
        ".ci",
        "setup.py",
    )
    if (ROOT / name).exists()
]
# What runs on a robot: JetPack 5 on Xavier has Python 3.8.
RUNTIME = ["irvis_fusion_core", "irvis_fusion_ros", "launch"]


# vermin has no __main__.
START = {"vermin": "import sys, vermin; sys.exit(vermin.main())"}


def tool(module, *arguments):
    """Run `python -m module`; skip where it is not installed (on a robot, in a colcon test)."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install '.[dev]'")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            START.get(module, f"import runpy; runpy.run_module({module!r}, run_name='__main__')"),
            *arguments,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_format():
    tool("ruff", "format", "--check", *SOURCES)


def test_lint():
    tool("ruff", "check", *SOURCES)


def test_types():
    tool("mypy")


def test_runtime_code_runs_on_python_3_8():
    # Annotations are left out: runtime files that use newer ones import them from __future__.
    arguments = ["--target=3.8-", "--violations", "--no-tips", "--no-eval-annotations"]
    tool("vermin", *arguments, *RUNTIME)


def test_security():
    """Bandit's findings are mended, or have their reason: in pyproject.toml, or as `# nosec`."""
    checked = [name for name in SOURCES if name not in ("test", "setup.py")]
    tool("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", *checked)


def test_files_have_one_concept():
    """Nothing over 400 lines: a file that long has a second concept in it."""
    long = {}
    for name in SOURCES:
        files = (ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / name]
        for file in files:
            lines = len(file.read_text().splitlines())
            if lines > 400:
                long[str(file.relative_to(ROOT))] = lines
    assert not long
