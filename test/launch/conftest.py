"""Loads launch files as modules (with stand-ins where ROS's launch is missing), and runs them."""

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest

from irvis_fusion_ros.running_node.environment import TRANSPORT_VARIABLES, make_environment

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
STAND_INS = [
    "ament_index_python",
    "ament_index_python.packages",
    "launch",
    "launch.actions",
    "launch.event_handlers",
    "launch.events",
    "launch.events.process",
    "launch.launch_description_sources",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
]


@pytest.fixture
def launch_file():
    """Return the module of a launch file; its own functions work without ROS, too."""

    def load(name):
        missing = () if importlib.util.find_spec("launch.actions") else STAND_INS
        stand_ins = {module: mock.MagicMock() for module in missing}
        path = LAUNCH / f"{name}.launch.py"
        spec = importlib.util.spec_from_file_location("launch_file_" + name, path)
        module = importlib.util.module_from_spec(spec)
        # Leaving patch.dict would forget the real launch, which cannot be imported twice.
        replaced = mock.patch.dict(sys.modules, stand_ins) if missing else nullcontext()
        with replaced:
            spec.loader.exec_module(module)
        return module

    return load


PROBE = """#!{python}
import json, os, sys
import rclpy
from irvis_fusion_ros.node.topics.qos import resolve_topic
rclpy.init(args=sys.argv)
node = rclpy.create_node("probe", automatically_declare_parameters_from_overrides=True)
topics = ("ir/image_raw", "vis/camera_info", "fused/image_raw", "image", "camera_info")
facts = dict(
    program=os.path.basename(sys.argv[0]),
    name=node.get_fully_qualified_name(),
    parameters={{n: p.value for n, p in node.get_parameters_by_prefix("").items()}},
    topics={{topic: node.resolve_topic_name(topic) for topic in topics}},
    compressed=[resolve_topic(node, t + "/image_raw/compressed") for t in ("ir", "fused")],
    arguments=sys.argv[1:],
    profile=os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE"),
)
with open(os.environ["PROBES"], "a") as stream:
    stream.write(json.dumps(facts) + "\\n")
"""
RUN = """
import sys
import launch
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter, SetRemap
arguments = [argument.split(":=", 1) for argument in sys.argv[3:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
included = IncludeLaunchDescription(source, launch_arguments=arguments)
service = launch.LaunchService()
service.include_launch_description(launch.LaunchDescription([*eval(sys.argv[2]), included]))
sys.exit(service.run())
"""


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """Lay out an installed package whose programs note what they were started with."""
    pytest.importorskip("launch.actions", reason="needs ROS's launch: source a ROS installation")
    pytest.importorskip("launch_ros.actions", reason="needs ROS's launch_ros: source ROS")
    share = tmp_path / "share" / "irvis_fusion"
    share.mkdir(parents=True)
    for name in ("launch", "config", "package.xml"):
        (share / name).symlink_to(LAUNCH.parent / name)
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "irvis_fusion").touch()
    (tmp_path / "lib" / "irvis_fusion").mkdir(parents=True)
    for name in ("fusion_node", "demo_cameras", "consumer"):
        script = tmp_path / "lib" / "irvis_fusion" / name
        script.write_text(PROBE.format(python=sys.executable))
        script.chmod(0o755)
    found = [str(tmp_path), os.environ.get("AMENT_PREFIX_PATH", "")]
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(filter(None, found)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(LAUNCH.parent)]))
    monkeypatch.setenv("PROBES", str(tmp_path / "probes"))
    for name, value in make_environment(dds_profile=False).items():
        monkeypatch.setenv(name, value)
    for name in TRANSPORT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def launch_run(prefix):
    """Launch a file as if it were included after the actions `parent`.

    Returns the exit status, the log, and what each program noted.
    """

    def run(name, *arguments, parent="[]"):
        command = [sys.executable, "-c", RUN, str(LAUNCH / name), parent, *arguments]
        done = subprocess.run(
            command, cwd=prefix, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        noted = prefix / "probes"
        lines = noted.read_text().splitlines() if noted.exists() else []
        noted.unlink(missing_ok=True)
        return done.returncode, done.stdout, [json.loads(line) for line in lines]

    return run
