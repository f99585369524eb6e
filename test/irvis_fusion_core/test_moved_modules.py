"""Names that modules had one release ago."""

import importlib
import subprocess
import sys
from importlib.util import find_spec

import pytest

import irvis_fusion_core  # noqa: F401 - registers its old names
import irvis_fusion_ros  # noqa: F401 - registers its old names
from irvis_fusion_core import moved_modules
from irvis_fusion_core.moved_modules import OLD_NAMES, keep_old_names


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A package `house` whose module `chair` moved to `house.kitchen.stool`."""
    (tmp_path / "house" / "kitchen").mkdir(parents=True)
    (tmp_path / "house" / "__init__.py").write_text("")
    (tmp_path / "house" / "kitchen" / "__init__.py").write_text("")
    stool = "legs = 3\nif __name__ == '__main__':\n    print('legs', legs)\n"
    (tmp_path / "house" / "kitchen" / "stool.py").write_text(stool)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(moved_modules, "OLD_NAMES", {})
    keep_old_names("house", {"kitchen": "stool"}, {"chair": "kitchen.stool"})
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "house"]:
        del sys.modules[name]


@pytest.mark.parametrize("old", ["house.chair", "house.stool"])
def test_an_old_name_gives_the_new_module_and_a_warning(moved, old):
    with pytest.warns(DeprecationWarning, match=f"{old} is now house.kitchen.stool"):
        module = importlib.import_module(old)
    assert module is importlib.import_module("house.kitchen.stool")
    assert module.__name__ == module.__spec__.name == "house.kitchen.stool"


def test_an_unknown_name_stays_unknown(moved):
    with pytest.raises(ModuleNotFoundError, match=r"house\.table"):
        importlib.import_module("house.table")


def test_an_old_name_runs_as_a_program(moved):
    code = (
        "import sys, runpy; sys.path.insert(0, sys.argv[1])\n"
        "from irvis_fusion_core.moved_modules import keep_old_names\n"
        "keep_old_names('house', {}, {'chair': 'kitchen.stool'})\n"
        "runpy.run_module('house.chair', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(moved)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "legs 3\n"


@pytest.mark.parametrize("old", ["fuse_bag", "evaluate_bag", "calibrate", "make_bag"])
def test_a_command_that_moved_runs_under_its_old_name(old):
    command = [sys.executable, "-m", f"irvis_fusion_ros.{old}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:") and old in done.stdout


def test_every_old_name_leads_to_a_module_that_exists():
    assert {name.partition(".")[0] for name in OLD_NAMES} == {
        "irvis_fusion_core",
        "irvis_fusion_ros",
    }
    for old, new in OLD_NAMES.items():
        assert find_spec(new) is not None, f"{old} leads to {new}, which does not exist"


def test_the_student_is_found_where_it_was():
    pytest.importorskip("torch")
    sys.modules.pop("irvis_fusion_core.student", None)
    with pytest.warns(DeprecationWarning):
        from irvis_fusion_core.student import create_student_model
    assert create_student_model is irvis_fusion_core.create_student_model
