"""The environment and the ROS arguments of processes that talk to each other over DDS."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

NODE_MODULE = "irvis_fusion_ros.node"
PROFILE = "fastdds_large_images.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
TRANSPORT_VARIABLES = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
"""A user who sets one of these has configured the transport: the profile is not set then."""
REQUIRED_MODULES = ("rclpy", "sensor_msgs", "diagnostic_msgs", "lifecycle_msgs", "std_srvs")


def why_no_ros() -> str | None:
    """Return why the node cannot run here, or None where it can."""
    advice = "source a ROS 2 installation, or on x86-64 Linux `pip install '.[ros]'`"
    for module in REQUIRED_MODULES:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed; {advice}"
    return None


def make_environment(domain_id: int | None = None, dds_profile: bool = True) -> dict[str, str]:
    """Return this process's environment, limited to this machine.

    A process that takes part in the graph itself has to update `os.environ` with it before
    `rclpy.init`.

    A `domain_id` of None keeps the environment's. `dds_profile` uses the shared-memory profile for
    large images, unless the environment configures the transport.
    """
    environment = dict(os.environ)
    if environment.get("ROS_DISTRO") == "humble":
        environment.setdefault("ROS_LOCALHOST_ONLY", "1")
    else:
        environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    profile = find_config(PROFILE) if dds_profile else None
    if profile is not None and not any(map(environment.get, TRANSPORT_VARIABLES)):
        environment.update(dict.fromkeys(PROFILE_VARIABLES, profile))
    return environment


def find_config(name: str) -> str | None:
    """Return the path of a file in `config/`, in the source tree or where it was installed."""
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    shares = [Path(prefix) / "share" / "irvis_fusion" for prefix in prefixes if prefix]
    folders = [Path(__file__).resolve().parents[2], *shares]
    paths = [folder / "config" / name for folder in folders]
    return next((str(path) for path in paths if path.is_file()), None)


def ros_arguments(namespace: str | None = None, arguments: Sequence[str] = ()) -> list[str]:
    """Return `--ros-args` with warnings and errors logged only, and the node in `namespace`."""
    remap = [] if namespace is None else ["-r", f"__ns:={namespace}"]
    return ["--ros-args", *remap, "--log-level", "warn", *arguments]


def parameter_arguments(values: Mapping[str, object]) -> list[str]:
    """Return `-p NAME:=VALUE` for each value that is not None.

    >>> parameter_arguments({"model": "nano", "lazy": False, "device": None})
    ['-p', 'model:=nano', '-p', 'lazy:=false']
    """
    arguments: list[str] = []
    for name, value in values.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{name}:={text}"]
    return arguments
