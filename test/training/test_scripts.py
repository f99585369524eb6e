"""Every script runs as a module and as a file, from the repository's root."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="training needs Lightning: pip install '.[train]'")

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "training").glob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)

# As `python -m training.NAME --help` and `python training/NAME.py --help` would, but all in one
# process: torch is imported once.
DRIVER = """
import contextlib, io, json, pathlib, runpy, sys

def shown(run, argv0, path0):
    sys.argv, sys.path[0] = [argv0, "--help"], path0
    sys.modules.pop("_as_module", None)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        run()
    return out.getvalue()

root = pathlib.Path.cwd()
found = {}
for name in sys.argv[1:]:
    module, file = f"training.{name}", str(root / "training" / f"{name}.py")
    found[name] = [
        shown(lambda: runpy.run_module(module, run_name="__main__"), file, str(root)),
        shown(lambda: runpy.run_path(file, run_name="__main__"), file, str(root / "training")),
    ]
print(json.dumps(found))
"""


def output(*arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def test_every_script_shows_the_same_help_both_ways():
    named = {"train", "eval", "export", "find_lr", "ablation", "make_teacher_images"}
    named |= {"train_teacher", "train_registration", "ship_models", "shipped_recipe"}
    assert named == set(SCRIPTS)
    for name, (as_module, as_file) in json.loads(output("-c", DRIVER, *SCRIPTS)).items():
        assert as_module == as_file and "usage:" in as_file, name


def test_a_file_runs_on_its_own():
    assert "--train_root" in output("training/find_lr.py", "--help")
