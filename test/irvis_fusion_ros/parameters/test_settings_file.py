"""Parameters from the node's YAML, without a node."""

import os

import pytest

from irvis_fusion_core.bounded_file import PARAMETER_BYTES
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.parameters.settings_file import load_settings, settings_of_arguments


def written(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return str(path)


def test_without_anything_all_is_as_the_table_says():
    assert load_settings() == Settings()


def test_the_files_that_ship_are_read(request):
    folder = request.config.rootpath / "config"
    assert load_settings(str(folder / "fusion.yaml")) == Settings()
    for name in ("boson", "lepton", "jetson"):
        assert load_settings(str(folder / f"{name}.yaml")) != Settings()


@pytest.mark.parametrize(
    "node", ["/**", "fusion_node", "/robot/front/fusion_node", "/*/fusion_node"]
)
def test_sections_as_ros_has_them(tmp_path, node):
    text = f"""
        other_node:
          ros__parameters: {{model: small, unheard_of: 1}}
        {node}:
          ros__parameters:
            use_sim_time: true
            qos_overrides: {{/tf: {{depth: 3}}}}
            slop_s: 1
            thermal: {{method: window, window_low: 10.0}}
            registration.mode: none
    """
    settings = load_settings(written(tmp_path, text))
    values = settings.to_mapping()
    changed = {name: value for name, value in values.items() if value != default(name)}
    assert changed == {
        "slop_s": 1.0,
        "thermal.method": "window",
        "thermal.window_low": 10.0,
        "registration.mode": "none",
    }
    assert type(settings.pairing.slop_s) is float


def default(name):
    return Settings().to_mapping()[name]


def test_changes_stand_over_the_file(tmp_path):
    path = written(tmp_path, "/**:\n  ros__parameters: {slop_s: 1.0, pairing: pair}\n")
    identity = "registration.homography:=[1,0,5, 0,1,0, 0,0,1]"
    settings = load_settings(path, ["slop_s:=0.2", "model=nano", identity, "enabled:=false"])
    assert settings.pairing.slop_s == 0.2 and settings.pairing.pairing == "pair"
    assert settings.engine.model == "nano" and settings.node.enabled is False
    homography = (1.0, 0.0, 5.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    assert settings.registration.homography == homography


@pytest.mark.parametrize(
    "text,said",
    [
        ("", "ros__parameters"),
        ("[1, 2]", "ros__parameters"),
        ("slop_s: 1.0", "ros__parameters"),
        ("other:\n  ros__parameters: {slop_s: 1.0}", "ros__parameters"),
        ("/**:\n  ros__parameters: {slop: 1.0}", "'slop'"),
        ("/**:\n  ros__parameters: {slop_s: -1.0}", "slop_s"),
        ("/**:\n  ros__parameters: {slop_s: wide}", "slop_s"),
        ("/**: [", "YAML"),
        ("a: &a {slop_s: 1.0}\n/**: {ros__parameters: *a}", "alias"),
        ("/**: " + "[" * 100_000, "recursion"),
        ("/**: {ros__parameters: {slop_s: 1}}\n" + "#" * PARAMETER_BYTES, "more than"),
    ],
)
def test_what_is_no_parameter_file_is_named(tmp_path, text, said):
    with pytest.raises(ConfigurationError, match=said):
        load_settings(written(tmp_path, text))


def test_a_file_that_is_a_pipe_or_a_device_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            load_settings(path)


@pytest.mark.parametrize(
    "change", ["slop_s", ":=1", "slop:=1", "slop_s:=[", "slop_s:=wide", "slop_s:=[&a 1, *a]"]
)
def test_what_is_no_change_is_named(change):
    with pytest.raises(ConfigurationError):
        load_settings(changes=[change])


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="found"):
        load_settings(str(tmp_path / "none.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="found"):
        load_settings(str(tmp_path / "binary.yaml"))


def test_arguments_of_the_process_are_read_before_there_is_a_node(tmp_path):
    text = "/**: {ros__parameters: {shared_memory: {width: 640}, output_qos.depth: 3, x: 1}}"
    file = ["--params-file", written(tmp_path, text)]
    arguments = ["--ros-args", *file, "-p", "fusion_node:shared_memory.height:=480"]
    topics = settings_of_arguments(arguments).topics
    found = (topics.shared_memory_width, topics.shared_memory_height, topics.output_qos_depth)
    assert found == (640, 480, 3)
    assert settings_of_arguments([*arguments, "--param", "output_qos.depth:=4"]) != Settings()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--params-file", "/nowhere.yaml"],
        ["-p", "output_qos.depth:=many"],
        ["-p", "output_qos.depth:=[["],
        ["-p"],
        ["-p", "nothing"],
        [],
    ],
)
def test_what_the_node_will_refuse_is_left_to_it(arguments):
    assert settings_of_arguments(["--ros-args", *arguments]) == Settings()
