"""The launch files, by the real `launch` where ROS has it (there are no wheels of it)."""

from pathlib import Path

import pytest

from irvis_fusion_ros.running_node.environment import PROFILE_VARIABLES, TRANSPORT_VARIABLES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fusion(launch_file, monkeypatch):
    """The module of fusion.launch.py; its share folder is the source tree."""
    module = launch_file("fusion")
    monkeypatch.setattr(module, "get_package_share_directory", lambda package: str(ROOT))
    return module


FILE = dict.fromkeys(PROFILE_VARIABLES, "/mine.xml")


@pytest.mark.parametrize(
    "exported, profile, expected",
    [
        ({}, "default", {}),  # the node makes its own
        ({}, "/mine.xml", FILE),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/other.xml"}, "/mine.xml", FILE),
        ({}, "", {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"}),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, "", {}),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}, "default", {}),
    ],
)
def test_dds_profile_is_of_the_node_alone(fusion, exported, profile, expected):
    assert fusion.profile_environment(profile, exported) == expected
    assert set(expected) <= set(TRANSPORT_VARIABLES)  # so that the node sees that it was asked


def test_the_environment_of_other_nodes_is_left_alone(launch_run):
    _, log, programs = launch_run("demo.launch.py", "dds_profile:=/mine.xml")
    profiles = {each["program"]: each["profile"] for each in programs}
    assert profiles == {"fusion_node": "/mine.xml", "demo_cameras": None}, log


def test_parameter_files_are_found_by_path_and_by_name(fusion, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my rig.yaml").touch()
    files, missing = fusion.find_parameter_files("jetson 'my rig.yaml' boson.yaml bosn.yaml")
    assert files == [
        str(ROOT / "config" / "jetson.yaml"),
        str(tmp_path / "my rig.yaml"),
        str(ROOT / "config" / "boson.yaml"),
    ]
    assert missing == [str(tmp_path / "bosn.yaml")]
    assert fusion.find_parameter_files("my rig.yaml") == ([files[1]], [])
    assert fusion.find_parameter_files("") == ([], [])


def test_what_is_not_given_is_left_to_the_parent(launch_run):
    _, log, (node,) = launch_run("fusion.launch.py")
    assert node["name"] == "/fusion_node", log
    ours = set(node["parameters"]) - {"use_sim_time", "start_type_description_service"}
    assert not ours and not node["parameters"].get("use_sim_time")
    parent = "[SetParameter('use_sim_time', True), SetParameter('model', 'base')]"
    _, log, (node,) = launch_run("fusion.launch.py", "backend:=numpy", parent=parent)
    wanted = {"use_sim_time": True, "model": "base", "backend": "numpy"}
    assert wanted.items() <= node["parameters"].items(), log


@pytest.mark.parametrize("word, truth", [("True", True), ("1", True), ("false", False)])
def test_booleans_and_levels_of_any_spelling(launch_run, word, truth):
    arguments = f"autostart:={word}", f"use_sim_time:={word}", "log_level:=WARN"
    _, log, (node,) = launch_run("fusion.launch.py", *arguments)
    assert {"autostart": truth, "use_sim_time": truth}.items() <= node["parameters"].items(), log
    assert "warn" in node["arguments"]


def test_a_wrong_value_reaches_the_node_which_names_it(launch_run):
    status, log, (node,) = launch_run("fusion.launch.py", "autostart:=maybe")
    assert status == 0 and node["parameters"]["autostart"] == "maybe", log


def test_several_parameter_files_of_which_the_last_wins(launch_run, prefix):
    (prefix / "mine.yaml").write_text("/**: {ros__parameters: {model: nano, slop_s: 0.01}}\n")
    _, log, (node,) = launch_run("fusion.launch.py", "params_file:=jetson mine.yaml")
    assert node["parameters"]["backend"] == "tensorrt", log
    assert node["parameters"]["model"] == "nano"
    _, log, (node,) = launch_run(
        "fusion.launch.py", "params_file:=mine.yaml jetson", "model:=base"
    )
    assert node["parameters"]["model"] == "base", log
    assert node["parameters"]["slop_s"] == 0.01


def test_a_missing_file_is_named_and_the_rest_of_the_launch_goes_on(launch_run, prefix):
    status, log, programs = launch_run("demo.launch.py", "params_file:=bosn.yaml")
    assert status == 0 and f"no file {prefix}/bosn.yaml; config/ has boson.yaml" in log
    assert [each["program"] for each in programs] == ["demo_cameras"]


def test_names_and_topics(launch_run):
    arguments = "namespace:=robot", "name:=fuser", "ir:=/boson/image", "fused:=rgb/image"
    parent = "[PushRosNamespace('fleet')]"
    _, log, (node,) = launch_run("fusion.launch.py", *arguments, parent=parent)
    assert node["name"] == "/fleet/robot/fuser", log
    assert node["topics"]["ir/image_raw"] == "/boson/image"
    assert node["compressed"] == ["/boson/image/compressed", "/fleet/robot/rgb/image/compressed"]


def test_remappings_and_a_namespace_of_the_parent_hold(launch_run):
    """As in a robot's launch file; the parent's remappings come first."""
    parent = (
        "[PushRosNamespace('fleet'), SetRemap('vis/camera_info', '/cam/info'),"
        " SetRemap('ir/image_raw', 'boson/image'), SetRemap('fused/image_raw', '/rgb/image')]"
    )
    arguments = "namespace:=robot", "ir:=/another/image"
    _, log, (node,) = launch_run("fusion.launch.py", *arguments, parent=parent)
    assert node["name"] == "/fleet/robot/fusion_node", log
    assert node["topics"]["vis/camera_info"] == "/cam/info"
    assert node["topics"]["ir/image_raw"] == "/fleet/robot/boson/image"
    assert node["compressed"] == ["/fleet/robot/boson/image/compressed", "/rgb/image/compressed"]


def test_the_consumer_of_the_example_follows_the_fusion(launch_run):
    _, log, programs = launch_run(
        "detector_example.launch.py",
        "package:=irvis_fusion",
        "executable:=consumer",
        "image_topic:=image",
        "namespace:=robot",
        "fused:=rgb/image",
        "fused_info:=rgb/info",
    )
    consumer = next(each for each in programs if each["program"] == "consumer")
    assert consumer["topics"]["image"] == "/robot/rgb/image", log
    assert consumer["topics"]["camera_info"] == "/robot/rgb/info"


def test_the_cameras_of_the_demo_are_the_nodes_inputs(launch_run):
    _, log, programs = launch_run("demo.launch.py", "namespace:=robot", "ir:=boson/image")
    assert len(programs) == 2, log
    assert len({each["topics"]["ir/image_raw"] for each in programs}) == 1


def test_respawn_starts_the_node_again(launch_run, prefix):
    """The program ends its own launch at its third start."""
    script = prefix / "lib" / "irvis_fusion" / "fusion_node"
    text = script.read_text() + (
        "if sum(1 for line in open(os.environ['PROBES'])) < 3:\n"
        "    os.kill(os.getpid(), 9)\n"
        "os.kill(os.getppid(), 2)\n"
        "import time; time.sleep(1)\n"
    )
    script.write_text(text)
    _, log, programs = launch_run("fusion.launch.py", "respawn:=true")
    assert len(programs) == 3, log
