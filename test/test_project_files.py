"""Workflows, containers, shell scripts and forms: what their linters say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILES = sorted((ROOT / "docker").glob("*ockerfile"))
SCRIPTS = [".ci/run", "docker/entrypoint.sh", "test/ros_install/check.sh"]
SCHEMAS = {
    "github-workflows": ".github/workflows/*.yml",
    "dependabot": ".github/dependabot.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "compose-spec": "docker/compose.yaml",
    "citation-file-format": "CITATION.cff",
}


def lint(name: str, *arguments: str) -> None:
    """Run a program of the environment or of the PATH; skip where it is not installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which(name, path=path)
    if program is None:
        pytest.skip(f"{name} is not installed: pip install '.[dev]'")
    command = [program, *arguments]
    environment = dict(os.environ, PATH=path)  # actionlint calls shellcheck
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows() -> None:
    """Their schema is checked below; actionlint is no package of PyPI, so it may be missing."""
    lint("actionlint", *map(str, WORKFLOWS))


def test_dockerfiles() -> None:
    lint("hadolint", *map(str, DOCKERFILES))


def test_shell_scripts() -> None:
    found = {
        str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.sh") if ".venv" not in str(path)
    }
    assert {name for name in found if not name.startswith(("out/", "build/"))} <= set(SCRIPTS)
    lint("shellcheck", *SCRIPTS)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas(schema: str) -> None:
    files = [str(path) for path in sorted(ROOT.glob(SCHEMAS[schema]))]
    assert files
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema: pip install '.[dev]'")
    from check_jsonschema import main
    from click.testing import CliRunner

    found = CliRunner().invoke(main, ["--builtin-schema", f"vendor.{schema}", *files])
    assert found.exit_code == 0, found.output


def test_workflows_ask_for_no_more_than_they_need() -> None:
    """Tokens read by default; what writes says so, and no secret is stored."""
    for workflow in WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        assert re.search(r"^permissions:\n  contents: read$", text, re.M), workflow.name
        assert text.count("timeout-minutes") == text.count("runs-on"), workflow.name
        assert "secrets." not in text, workflow.name


def test_every_supported_python_is_tested() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    promised = {c.rpartition(" ")[2] for c in classifiers if "Python :: 3." in c}
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    tested = re.findall(r'"(3\.\d+)"', "".join(re.findall(r"python: \[(.*)\]", text)))
    assert set(tested) == promised and len(tested) == len(promised)


def test_files_for_github_and_ros() -> None:
    for name in ("SECURITY.md", "QUALITY_DECLARATION.md", "rosdoc2.yaml", ".github/CODEOWNERS"):
        assert (ROOT / name).stat().st_size > 100, name
    declaration = (ROOT / "QUALITY_DECLARATION.md").read_text(encoding="utf-8")
    assert re.search(r"Quality Level \d", declaration)
    manifest = (ROOT / "package.xml").read_text(encoding="utf-8")
    assert '<url type="' not in manifest  # the repository has no public address yet
