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
    # Not imported: where something has imported distutils before, importing setuptools fails.
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setup.py needs setuptools")
    import json

    return json.loads(run(sys.executable, "-c", code, cwd=ROOT))


@pytest.fixture(scope="module")
def project():
    """The metadata in pyproject.toml (PEP 621)."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_manifest_setup_and_project_agree(manifest, arguments, project):
    assert manifest.get("format") == "3"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert manifest.findtext("name") == arguments["name"] == project["name"] == "irvis_fusion"
    assert manifest.findtext("license") == project["license"]["text"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    maintainer = manifest.find("maintainer")
    expected = {"name": maintainer.text, "email": maintainer.get("email")}
    assert project["maintainers"] == [expected]


def test_the_version_is_the_same_everywhere(manifest, arguments):
    import irvis_fusion_core

    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    versions = {
        "package.xml": manifest.findtext("version"),
        "setup.py": arguments["version"],
        "__init__.py": irvis_fusion_core.__version__,
        "CITATION.cff": citation[1],
    }
    assert len(set(versions.values())) == 1, versions
    # catkin_prepare_release finds the number in setup.py by this pattern, once.
    text = (ROOT / "setup.py").read_text()
    assert len(re.findall(r"version=[\"'][0-9.]+[\"']", text)) == 1


def test_the_changelog_begins_with_what_is_released_next(manifest):
    """catkin_prepare_release gives the section Forthcoming the version and a date."""
    text = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    section = re.search(r"^(\S.*)\n-{5,}$", text, re.M)[1]
    version = re.escape(manifest.findtext("version"))
    assert re.fullmatch(rf"Forthcoming|{version} \(\d{{4}}-\d\d-\d\d\)", section), section


def test_setup_has_what_the_setuptools_of_ubuntu_needs(arguments, project):
    """Those of 20.04 and 22.04 read no [project]; a field given twice would be a warning."""
    both = set(arguments) & set(project) - {"name"}
    assert both - set(project["dynamic"]) == set()
    assert {"packages", "package_data", "data_files", "entry_points"} <= set(arguments)
    old = (
        "import setuptools, runpy\n"
        "setuptools.__version__ = '59.6.0'\n"
        "setuptools.setup = lambda **given: print(given['extras_require'])\n"
        "runpy.run_path('setup.py')"
    )
    found = run(sys.executable, "-c", old, cwd=ROOT)
    assert found.strip() == "{'test': ['pytest']}"  # colcon runs pytest where it finds it here


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


# Key of rosdep -> module, where it is not the name itself or python3-NAME.
MODULES = {"python3-opencv": "cv2", "python3-pil": "PIL", "launch_testing_ros": "launch_testing"}
WITHOUT_MODULE = {"libopenblas-dev"}  # makes NumPy fast
SYSTEM_KEYS = {  # of rosdep/base.yaml and python.yaml; all others are ROS packages
    "libopenblas-dev",
    "python3-hypothesis",
    "python3-jinja2",
    "python3-matplotlib",
    "python3-numpy",
    "python3-opencv",
    "python3-pil",
    "python3-pytest",
    "python3-yaml",
}
OPTIONAL = {  # of pip; the code that imports one says how to install it
    "executorch",  # with ncnn and coremltools, for phones
    *ENGINES,
    "av",
    "distributed",
    "flyr",
    "mcap",
    "rosbags",
    "safetensors",
    "openvino_telemetry",
}


def modules_of(manifest, kind):
    """The modules of the packages that package.xml names as `kind`."""
    keys = {element.text for element in manifest.findall(kind)} - WITHOUT_MODULE
    return {MODULES.get(key, key.replace("python3-", "")) for key in keys}


def foreign_imports(*patterns):
    """Module -> a file that imports it, of those that are neither ours nor Python's."""
    ours = {"irvis_fusion_core", "irvis_fusion_ros", "training", "benchmarks", "test"}
    ours |= {file.stem for file in (ROOT / "test").rglob("*.py")}
    found = {}
    for pattern in patterns:
        for file in ROOT.glob(pattern):
            for module in imported(file):
                if module not in ours | set(standard_modules()):
                    found[module] = str(file.relative_to(ROOT))
    return found


def test_the_manifest_names_exactly_what_is_imported(manifest):
    found = foreign_imports("irvis_fusion_*/**/*.py", "launch/*.py")
    found = {name: file for name, file in found.items() if name not in OPTIONAL}
    declared = modules_of(manifest, "exec_depend")
    undeclared = {name: file for name, file in found.items() if name not in declared}
    undeclared.pop("pytest", None)  # of testing_help, where a test imports it
    assert not undeclared
    assert declared - set(found) == set(), "declared and never imported"


def test_the_manifest_names_what_the_tests_import_of_ros(manifest):
    found = foreign_imports("test/**/*.py")
    declared = modules_of(manifest, "test_depend")
    assert declared - set(found) == set(), "declared and never imported"
    of_ros = {name for name in found if name.endswith(("_msgs", "_testing", "rclpy"))}
    assert of_ros <= declared | modules_of(manifest, "exec_depend")


def test_the_manifest_has_keys_of_rosdep(manifest):
    for kind in ("exec_depend", "test_depend"):
        keys = [element.text for element in manifest.findall(kind)]
        assert keys == sorted(set(keys))
        for key in keys:
            assert key in SYSTEM_KEYS or re.fullmatch("[a-z][a-z0-9_]+", key), key


def imported(file):
    """The top-level modules that a file imports anywhere, also by `import_module("NAME")`."""
    for node in ast.walk(ast.parse(file.read_text())):
        by_name = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module"
        if by_name and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value.partition(".")[0]
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


def test_a_sourced_ros_gets_no_wheels_of_another_ros(project):
    extras = project["optional-dependencies"]
    for extra in ("test", "evaluate", "onnx", "bag", "openvino"):
        assert not [name for name in extras[extra] if name.startswith("ros-") or "[ros" in name]
    assert "pytest" in extras["test"]
    for target, installed in (("test", "'.[test]'"), ("demo", "'.[openvino,bag]'")):
        command = ["make", "-n", "-W", "pyproject.toml", target, "ROS_DISTRO=humble"]
        done = run(*command, cwd=ROOT)
        assert f".venv-humble/bin/python -m pip install --quiet --editable {installed}" in done


def test_extras_that_jetpack_5_can_install_name_no_other_extra(project):
    """The pip of Ubuntu 20.04 (20.0) cannot resolve `irvis_fusion[bag]`."""
    for extra in ("openvino", "onnx", "torch", "jetson", "bag", "radiometric"):
        named = project["optional-dependencies"][extra]
        assert not [name for name in named if name.startswith("irvis_fusion")], extra


def test_the_readme_lists_the_extras(project):
    listed = re.findall(r"`\[(\w+)\]`", (ROOT / "README.md").read_text())
    assert set(listed) == set(project["optional-dependencies"])


IMAGES = ["/ir/image_raw", "/vis/image_raw", "/fused/image_raw", "/fused/image_raw/compressed"]


def test_rviz_shows_the_image_topics_of_the_node_side_by_side():
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    view = yaml.safe_load((ROOT / "config" / "view.rviz").read_text())
    displays = view["Visualization Manager"]["Displays"]
    assert [each["Topic"]["Value"] for each in displays] == IMAGES
    # Qt finds a panel by its name, which RViz takes from the display.
    packed = bytes.fromhex(view["Window Geometry"]["QMainWindow State"])
    places = [packed.find(each["Name"].encode("utf-16-be")) for each in displays]
    assert -1 not in places and places == sorted(places)
    for each in displays:
        assert view["Window Geometry"][each["Name"]] == {"collapsed": False}


def test_foxglove_shows_the_image_topics_of_the_node_side_by_side():
    import json

    view = json.loads((ROOT / "config" / "foxglove_live.json").read_text())
    panels = view["configById"]
    shown = re.findall(r"\w+!\w+", json.dumps(view["layout"]))
    assert set(shown) == set(panels)
    images = [panels[name]["imageMode"]["imageTopic"] for name in shown if "Image" in name]
    assert images == IMAGES
    diagnostics = [panels[name]["topicToRender"] for name in shown if "Diagnostic" in name]
    assert set(diagnostics) == {"/diagnostics"}


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
