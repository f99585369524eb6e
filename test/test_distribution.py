"""Wheel and sdist: what they hold, and that the wheel works where nothing else is installed."""

from __future__ import annotations

import configparser
import email.parser
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST_MODELS_MB = 25
RUNTIME = ("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs")


def run(*command: str, cwd: Path) -> str:
    """Return the standard output of a Python command that must succeed."""
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from a copy of the tracked kind of files."""
    pytest.importorskip("tomllib", reason="needs Python 3.11")
    for name in ("pip", "wheel", "setuptools"):
        try:  # looking for the module of pip makes setuptools fail in this process from then on
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"building a distribution needs {name}")
    folder = tmp_path_factory.mktemp("sdist")
    skipped = shutil.ignore_patterns(".*", "build", "out", "*.egg-info", "test", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=skipped)
    run("setup.py", "-q", "sdist", "-d", str(folder), cwd=folder / "source")
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel that pip makes of the source distribution, without a network."""
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--quiet"]
    run("-m", "pip", "wheel", *options, "-w", str(sdist.parent), str(sdist), cwd=sdist.parent)
    (found,) = sdist.parent.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The METADATA of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def test_the_sdist_holds_what_the_wheel_is_built_from(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "setup.py", "package.xml", "LICENSE", "README.md"):
        assert name in names
    assert {"launch/fusion.launch.py", "config/fusion.yaml", "resource/irvis_fusion"} <= names


def test_the_wheel_holds_the_package_and_one_name_for_the_path(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (points,) = (name for name in names if name.endswith("entry_points.txt"))
        config = configparser.ConfigParser()
        config.read_string(archive.read(points).decode())
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    # Short names such as `export` and `node` stay off a user's PATH; ROS has its own place.
    assert list(config["console_scripts"]) == ["irvis_fusion"]
    assert "fuse" in config["irvis_fusion.commands"]
    assert "irvis_fusion_core/backends/openvino.py" in names
    for part in ("report.html", "report.css"):
        assert f"irvis_fusion_ros/evaluation/report/{part}" in names
    assert {"irvis_fusion_core/py.typed", "irvis_fusion_ros/py.typed"} <= set(names)
    assert any(name.endswith("share/irvis_fusion/package.xml") for name in names)
    models = {each.name for each in (ROOT / "irvis_fusion_core" / "models").iterdir()}
    held = {n: s for n, s in sizes.items() if n.startswith("irvis_fusion_core/models/")}
    assert {Path(name).name for name in held} == models
    assert sum(held.values()) <= LARGEST_MODELS_MB * 1e6


def test_the_metadata_is_that_of_the_project(metadata: Message) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata["Summary"] == project["description"]
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    required = [name for name in metadata.get_all("Requires-Dist") if "extra ==" not in name]
    assert sorted(required) == sorted(project["dependencies"])
    assert metadata.get_payload().startswith("# irvis_fusion")


def test_the_wheel_fuses_where_only_its_requirements_are_installed(
    wheel: Path, tmp_path: Path
) -> None:
    """An environment with NumPy and OpenCV alone: no site-packages, no clone, no engine."""
    site = tmp_path / "site"
    options = ["--no-index", "--no-deps", "--quiet", "--target", str(site)]
    run("-m", "pip", "install", *options, str(wheel), cwd=tmp_path)
    installed = Path(cv2.__file__).parents[1]
    for name in RUNTIME:
        if (installed / name).is_dir():  # a copy: OpenCV looks beside its real path
            shutil.copytree(installed / name, site / name)
    # The pair of the README: visible and thermal, side by side.
    sheet = cv2.imread(str(ROOT / "docs" / "tno_pair.jpg"))
    width = sheet.shape[1] // 3
    cv2.imwrite(str(tmp_path / "vis.png"), sheet[:, :width])
    cv2.imwrite(str(tmp_path / "ir.png"), sheet[:, width : 2 * width])
    start = (
        f"import sys; sys.path.insert(0, {str(site)!r}); "
        "from irvis_fusion_core.commands.cli import main; sys.exit(main())"
    )
    isolated = ("-I", "-S", "-c", start)
    listed = run(*isolated, "--help", cwd=tmp_path)
    assert "build_engine" in listed and "evaluate_bag" in listed
    run(*isolated, "fuse", "--ir=ir.png", "--vis=vis.png", "--output=fused.png", cwd=tmp_path)
    fused = cv2.imread(str(tmp_path / "fused.png"))
    assert fused.shape == (sheet.shape[0], width, 3) and fused.std() > 10
    shutil.rmtree(site)  # 160 MB, which pytest would keep
