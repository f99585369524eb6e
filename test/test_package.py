"""The package as a whole: files that agree, installs, light imports."""

import ast
import configparser
import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINES = [
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "pycuda",
    "cuda",
]


def run(*command, **options):
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def manifest():
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def arguments():
    """What setup.py hands to setuptools when colcon runs it."""
    code = (
        "import setuptools, json, runpy, sys\n"
        "sys.argv = ['setup.py', 'install']\n"
        "setuptools.setup = lambda **given: print(json.dumps(given))\n"
        "runpy.run_path('setup.py')"
    )
    pytest.importorskip("setuptools", reason="setup.py needs setuptools")
    import json

    return json.loads(run(sys.executable, "-c", code, cwd=ROOT))


def test_manifest_and_setup_agree(manifest, arguments):
    import irvis_fusion_core

    assert manifest.get("format") == "3"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert manifest.findtext("name") == arguments["name"] == "irvis_fusion"
    versions = {manifest.findtext("version"), arguments["version"], irvis_fusion_core.__version__}
    assert len(versions) == 1, versions
    assert manifest.findtext("license") == arguments["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    maintainer = manifest.find("maintainer")
    assert maintainer.get("email") == arguments["maintainer_email"]
    assert maintainer.text == arguments["maintainer"]


def test_scripts_go_where_ros2_run_looks():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["develop"]["script_dir"] == "$base/lib/irvis_fusion"
    assert config["install"]["install_scripts"] == "$base/lib/irvis_fusion"
    for section in config.values():
        assert not any("-" in key for key in section)  # setuptools refuses hyphens


def test_ament_finds_the_package(arguments):
    files = dict(arguments["data_files"])
    index = "share/ament_index/resource_index/packages"
    assert files[index] == ["resource/irvis_fusion"]
    assert files["share/irvis_fusion"] == ["package.xml"]
    for folder, names in files.items():
        for name in names:
            assert (ROOT / name).is_file(), f"{name}, installed into {folder}, is missing"
    launches = [os.path.basename(name) for name in files["share/irvis_fusion/launch"]]
    assert launches.count("fusion.launch.py") == 1


def test_every_command_has_an_executable_and_a_module_with_main(arguments):
    scripts = dict(s.split(" = ") for s in arguments["entry_points"]["console_scripts"])
    commands = dict(s.split(" = ") for s in arguments["entry_points"]["irvis_fusion.commands"])
    assert {"fuse", "benchmark", "build_engine", "export", "quantize", "analyze", "doctor"} <= set(
        commands
    )
    assert set(commands) <= set(scripts) and "irvis_fusion" in scripts
    for target in [*commands.values(), *scripts.values()]:
        module, function = target.split(":")
        file = ROOT / (module.replace(".", "/") + ".py")
        assert file.is_file(), target
        tree = ast.parse(file.read_text())
        names = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
        assert function in names, target
        assert ast.get_docstring(tree).partition("\n")[0].endswith("."), target


def test_the_manifest_names_every_ros_package_that_is_imported(manifest):
    declared = {element.text for element in manifest.findall("exec_depend")}
    aliases = {"cv2": "python3-opencv"}
    aliases.update((n, f"python3-{n}") for n in ("jinja2", "matplotlib", "numpy", "yaml"))
    optional = {"mcap", "rosbags", "pytest"}  # of pip, and announced by the code that needs them
    own = {"irvis_fusion_core", "irvis_fusion_ros"}
    files = [*(ROOT / "irvis_fusion_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    missing = {}
    for file in files:
        for module in imported(file):
            if module in own or module in optional or module in standard_modules():
                continue
            if aliases.get(module, module) not in declared:
                missing[module] = file.name
    assert not missing


def test_the_manifest_names_nothing_that_is_not_used(manifest):
    declared = {element.text for element in manifest.findall("exec_depend")}
    modules = {"python3-opencv": "cv2", "python3-pil": "PIL", "libopenblas-dev": "numpy"}
    files = [f for part in ("irvis_fusion_*", "launch") for f in ROOT.glob(part + "/**/*.py")]
    text = "".join(file.read_text() for file in files)
    for name in declared:
        module = modules.get(name, name.replace("python3-", ""))
        # Some are imported by name, and lifecycle_msgs only asked for: rclpy brings it.
        assert re.search(rf"(import|from) {module}\b|\"{module}\"", text), name


def imported(file):
    """The top-level modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def standard_modules():
    if not hasattr(sys, "stdlib_module_names"):
        pytest.skip("Python 3.10 and newer know the names of the standard library")
    return sys.stdlib_module_names


def test_the_core_never_imports_the_ros_part_or_ros():
    for file in (ROOT / "irvis_fusion_core").rglob("*.py"):
        found = set(imported(file))
        assert not found & {"irvis_fusion_ros", "rclpy", "sensor_msgs", "training"}, file


def test_importing_the_core_imports_no_engine_and_little_else():
    """What makes an import slow is what it imports: nothing but OpenCV and numpy is heavy here."""
    code = (
        "import sys\n"
        "import irvis_fusion_core\n"
        "first = sorted(m for m in ('numpy', 'cv2') if m in sys.modules)\n"
        "from irvis_fusion_core import RealtimeFusion\n"
        f"print(first, [m for m in {ENGINES!r} if m in sys.modules])"
    )
    assert run(sys.executable, "-c", code, cwd=ROOT).strip() == "[] []"


def test_names_of_the_core_are_found_when_used():
    import irvis_fusion_core

    for name in irvis_fusion_core.__all__:
        assert name in dir(irvis_fusion_core)
    with pytest.raises(AttributeError, match="no_such_name"):
        irvis_fusion_core.no_such_name  # noqa: B018
    if importlib.util.find_spec("torch"):
        for name in irvis_fusion_core.__all__:
            assert callable(getattr(irvis_fusion_core, name))


@pytest.mark.skipif(
    importlib.util.find_spec("wheel") is None, reason="building a wheel needs the wheel package"
)
def test_a_wheel_holds_the_package_and_one_name_for_the_path(tmp_path):
    import shutil
    import zipfile

    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "out", "*.egg-info", "test", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", str(tmp_path / "dist")]
    run(*command, cwd=source)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (points,) = (n for n in names if n.endswith("entry_points.txt"))
        config = configparser.ConfigParser()
        config.read_string(archive.read(points).decode())
        (metadata,) = (n for n in names if n.endswith("/METADATA"))
        required = re.findall(
            r"^Requires-Dist: (\S+)((?: ;.*)?)$", archive.read(metadata).decode(), re.M
        )
    # Short names such as `export` and `node` stay off a user's PATH; ROS has its own place.
    assert list(config["console_scripts"]) == ["irvis_fusion"]
    assert "fuse" in config["irvis_fusion.commands"]
    assert "irvis_fusion_core/backends/openvino.py" in names
    for model in (ROOT / "irvis_fusion_core" / "models").glob("*"):
        assert f"irvis_fusion_core/models/{model.name}" in names
    for part in ("report.html", "report.css"):
        assert f"irvis_fusion_ros/evaluation/report/{part}" in names
    assert {"irvis_fusion_core/py.typed", "irvis_fusion_ros/py.typed"} <= set(names)
    assert any(n.endswith("share/irvis_fusion/package.xml") for n in names)
    base = [name for name, marker in required if "extra" not in marker]
    assert sorted(re.split("[><=!;]", name)[0] for name in base) == [
        "numpy",
        "opencv-python-headless",
    ]


def test_a_sourced_ros_gets_no_wheels_of_another_ros(arguments):
    extras = arguments["extras_require"]
    for extra in ("test", "bag", "openvino"):
        assert not [name for name in extras[extra] if name.startswith("ros-")]
    # colcon runs pytest where it finds it here.
    assert "pytest" in extras["test"]
    for target, installed in (("test", "'.[test]'"), ("demo", "'.[openvino,bag]'")):
        command = ["make", "-n", "-W", "setup.py", target, "ROS_DISTRO=humble"]
        done = run(*command, cwd=ROOT)
        assert f".venv-humble/bin/python -m pip install --quiet --editable {installed}" in done


def test_the_view_shows_the_topics_of_the_node():
    text = (ROOT / "config" / "view.rviz").read_text()
    assert re.findall(r"/\w+/image_raw", text) == [
        f"/{n}/image_raw" for n in ("ir", "vis", "fused")
    ]


def test_files_for_people_are_there():
    for name in (
        "README.md",
        "LICENSE",
        "CHANGELOG.rst",
        "CONTRIBUTING.md",
        "docs/architecture.md",
    ):
        assert (ROOT / name).stat().st_size > 200, name
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_ci_runs_the_command_that_the_readme_names():
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert ci[-1] == "make test"
    assert "make test" in (ROOT / "README.md").read_text()
    assert re.search(r"^test:", (ROOT / "Makefile").read_text(), re.M)
