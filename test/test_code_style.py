"""Format, lint, types and the oldest Python: what the tools say of every file."""

import ast
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
    tool("mypy", *RUNTIME[:2])


def test_runtime_code_runs_on_python_3_8():
    # Annotations are left out: runtime files that use newer ones import them from __future__.
    arguments = ["--target=3.8-", "--violations", "--no-tips", "--no-eval-annotations"]
    tool("vermin", *arguments, *RUNTIME)


GENERIC_SINCE_3_9 = {"list", "dict", "tuple", "set", "frozenset", "type"}
LIBRARIES = {"collections", "collections.abc", "contextlib", "os", "queue", "re"}


def runtime_generics(path):
    """Lines that subscript a class at run time which Python 3.8 cannot subscript.

    Annotations are not evaluated, thanks to the __future__ import; all other expressions are.
    """
    tree = ast.parse(path.read_text())
    names = set(GENERIC_SINCE_3_9)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in LIBRARIES:
            names.update(alias.asname or alias.name for alias in node.names)
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, None)
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    ]


def test_no_class_is_subscripted_at_run_time_that_python_3_8_cannot():
    files = [file for name in RUNTIME for file in sorted((ROOT / name).rglob("*.py"))]
    found = {str(file.relative_to(ROOT)): runtime_generics(file) for file in files}
    assert {name: lines for name, lines in found.items() if lines} == {}, "use typing.X instead"


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
