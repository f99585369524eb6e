"""The environment of processes over DDS: domain, profile, and what the user has set already."""

from pathlib import Path

import pytest

from irvis_fusion_ros.running_node import environment
from irvis_fusion_ros.running_node.environment import (
    PROFILE,
    PROFILE_VARIABLES,
    TRANSPORT_VARIABLES,
    find_config,
    make_environment,
    parameter_arguments,
    ros_arguments,
    why_no_ros,
)

CONFIG = Path(__file__).resolve().parents[3] / "config"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Hide what the shell of the tests has set."""
    for name in (*TRANSPORT_VARIABLES, "ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(name, raising=False)


def test_the_large_image_profile_is_found():
    assert find_config(PROFILE) == str(CONFIG / PROFILE)
    assert find_config("no_such_file.xml") is None


def test_profile_and_domain_are_set():
    values = make_environment(domain_id=7)
    assert {values[name] for name in PROFILE_VARIABLES} == {str(CONFIG / PROFILE)}
    assert values["ROS_DOMAIN_ID"] == "7"
    assert not set(PROFILE_VARIABLES) & set(make_environment(dds_profile=False))


@pytest.mark.parametrize("name", TRANSPORT_VARIABLES)
def test_a_transport_that_the_user_has_set_is_kept(name, monkeypatch):
    monkeypatch.setenv(name, "mine")
    values = make_environment()
    assert {n: values.get(n) for n in TRANSPORT_VARIABLES} == {
        n: "mine" if n == name else None for n in TRANSPORT_VARIABLES
    }


@pytest.mark.parametrize(
    "distribution, variable, value",
    [
        ("humble", "ROS_LOCALHOST_ONLY", "1"),
        ("jazzy", "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
    ],
)
def test_discovery_is_limited_to_this_machine(distribution, variable, value, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    assert make_environment()[variable] == value
    monkeypatch.setenv(variable, "as the user has it")
    assert make_environment()[variable] == "as the user has it"


def test_a_missing_ros_package_is_named(monkeypatch):
    monkeypatch.setattr(
        environment.importlib.util, "find_spec", lambda name: None if name == "rclpy" else name
    )
    assert "rclpy is not installed" in why_no_ros()


def test_parameters_become_ros_arguments():
    given = parameter_arguments({"model": "nano", "lazy": True, "device": None, "slop_s": 0.1})
    assert given == ["-p", "model:=nano", "-p", "lazy:=true", "-p", "slop_s:=0.1"]
    arguments = ros_arguments("/mine", given)
    assert arguments[0] == "--ros-args" and "__ns:=/mine" in arguments
    assert arguments[-len(given) :] == given
    assert not any("__ns" in argument for argument in ros_arguments())
