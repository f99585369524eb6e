"""The launch files by the real `launch`, where ROS has it (there are no wheels of it)."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("launch.actions", reason="needs ROS's launch: source a ROS installation")
pytest.importorskip("launch_ros.actions", reason="needs ROS's launch_ros: source ROS")

from graph import ROOT, wait_until_fusing

LAUNCH = os.path.join(ROOT, "launch")
PROFILE = "fastdds_large_images.xml"
FUSION_NODE = """#!{python}
import sys
from irvis_fusion_ros.node.fusion_node import main
sys.exit(main())
"""
CONSUMER = """#!{python}
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("consumer")
node.create_subscription(Image, "image", lambda message: None, 5)
rclpy.spin(node)
"""


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """Lay out an installed package: share, the ament index, and executables."""
    share = tmp_path / "share" / "irvis_fusion"
    share.mkdir(parents=True)
    for name in ("launch", "config", "package.xml"):
        os.symlink(os.path.join(ROOT, name), share / name)
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "irvis_fusion").write_text("")
    scripts = tmp_path / "lib" / "irvis_fusion"
    scripts.mkdir(parents=True)
    for name, text in (("fusion_node", FUSION_NODE), ("consumer", CONSUMER)):
        script = scripts / name
        script.write_text(text.format(python=sys.executable))
        script.chmod(0o755)
    found = [str(tmp_path), os.environ.get("AMENT_PREFIX_PATH", "")]
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(filter(None, found)))
    for name in (
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTDDS_BUILTIN_TRANSPORTS",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


RUN = """
import sys
import launch
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = launch.LaunchService(argv=sys.argv[2:])
arguments = [argument.split(":=", 1) for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
included = IncludeLaunchDescription(source, launch_arguments=arguments)
service.include_launch_description(launch.LaunchDescription([included]))
sys.exit(service.run())
"""


def actions_of(context, name="fusion.launch.py", **arguments):
    """Return what the launch file does, its arguments resolved in `context`."""
    from launch.actions import OpaqueFunction
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    context.launch_configurations.update(arguments)
    path = os.path.join(LAUNCH, name)
    actions = []
    for entity in PythonLaunchDescriptionSource(path).get_launch_description(context).entities:
        if isinstance(entity, OpaqueFunction):
            actions += entity.execute(context)
        else:
            entity.visit(context)
    for action in actions:
        if type(action).__name__ == "SetEnvironmentVariable":
            action.execute(context)
    return actions


def profiles(environment):
    """Return both variables' file names."""
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    return [os.path.basename(environment.get(name, "")) for name in names]


@pytest.mark.parametrize(
    "exported, arguments, expected",
    [
        ({}, {}, [PROFILE, PROFILE]),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}, {}, ["mine.xml", ""]),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"}, {}, ["", "mine.xml"]),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, {}, ["", ""]),
        (
            {"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"},
            {"dds_profile": "/other.xml"},
            ["other.xml", "other.xml"],
        ),
        ({}, {"dds_profile": ""}, ["", ""]),
    ],
)
def test_dds_profile_is_ours_unless_the_user_has_one(
    prefix, monkeypatch, exported, arguments, expected
):
    from launch import LaunchContext

    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    context = LaunchContext()
    before = dict(context.environment)
    try:
        actions_of(context, **arguments)
        assert profiles(context.environment) == expected
    finally:  # launch's environment is this process's
        os.environ.clear()
        os.environ.update(before)


def test_a_misspelt_choice_is_refused(prefix):
    from launch import LaunchContext

    with pytest.raises(RuntimeError, match="autostart"):
        actions_of(LaunchContext(), autostart="yes")


def start(graph, name, *arguments):
    """Run a launch file as `ros2 launch` does, in the test's domain."""
    environment = dict(
        os.environ,
        ROS_DOMAIN_ID=str(graph.domain),
        ROS_LOCALHOST_ONLY="1",
        PYTHONPATH=os.pathsep.join([*sys.path, ROOT]),
    )
    log = open(graph.tmp_path / "launch.log", "wb")  # noqa: SIM115 - closed with the process
    command = [sys.executable, "-c", RUN, os.path.join(LAUNCH, name), *arguments]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def stop(process):
    """End it as Ctrl-C does; its nodes end with it."""
    process.send_signal(signal.SIGINT)
    process.wait(40)


def test_launched_node_fuses_the_topics_it_was_given_and_ends_with_the_launch(graph, prefix):
    from test_fusion_node_engine import write_max_model

    model = prefix / "max.onnx"
    write_max_model(model)
    values = prefix / "values.yaml"
    values.write_text("/**: {ros__parameters: {thermal.method: none, backend: onnxruntime}}\n")
    graph.fusion = graph  # its log, should the wait fail
    graph.log = lambda: (prefix / "launch.log").read_text()
    process = start(
        graph,
        "fusion.launch.py",
        f"params_file:={values}",
        f"model:={model}",
        "ir:=ir/image_raw",
        "name:=fuser",
    )
    try:
        wait_until_fusing(graph)
        names = graph.node.get_node_names()
        assert "fuser" in names and "fusion_node" not in names
    finally:
        stop(process)
    assert "Traceback" not in graph.log()
    graph.wait_for(lambda: "fuser" not in graph.node.get_node_names(), what="the node's end")


def test_example_puts_a_consumer_behind_the_fused_topic(graph, prefix):
    process = start(
        graph,
        "detector_example.launch.py",
        "package:=irvis_fusion",
        "executable:=consumer",
        "image_topic:=image",
    )
    try:
        graph.wait_for(
            lambda: any(
                info.node_name == "consumer"
                for info in graph.node.get_subscriptions_info_by_topic("/fused/image_raw")
            ),
            what="the consumer on the fused topic",
        )
    finally:
        stop(process)
