r"""Start the fusion node; `ros2 launch irvis_fusion fusion.launch.py --show-args` lists it all.

Example::

    ros2 launch irvis_fusion fusion.launch.py \\
        ir:=/boson/image_raw vis:=/camera/image_raw vis_info:=/camera/camera_info
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from launch import LaunchDescription

PACKAGE = "irvis_fusion"

# The old name is Humble's; newer Fast DDS knows both.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
# Whoever sets one of these has decided how images travel.
TRANSPORT_VARIABLES = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
DEFAULT_PROFILE = "default"

CHOICES = {
    "autostart": ["", "true", "false"],
    "use_sim_time": ["true", "false"],
    "log_level": ["debug", "info", "warn", "error", "fatal"],
}


def launch_arguments(share):
    """Return the arguments: name, default, description."""
    return [
        ("namespace", "", "Namespace of the node; relative topics follow it."),
        ("name", "fusion_node", "Name of the node."),
        (
            "params_file",
            os.path.join(share, "config", "fusion.yaml"),
            "YAML file of parameters; see also boson.yaml, lepton.yaml, jetson.yaml there.",
        ),
        ("ir", "ir/image_raw", "Topic of the thermal images."),
        ("vis", "vis/image_raw", "Topic of the visible images."),
        ("vis_info", "vis/camera_info", "Topic of the visible camera's calibration."),
        ("ir_info", "ir/camera_info", "Topic of the thermal camera's calibration."),
        ("fused", "fused/image_raw", "Topic of the fused images."),
        ("fused_info", "fused/camera_info", "Topic of the fused camera_info."),
        (
            "model",
            "",
            "auto, nano, small, base or an .onnx file; empty leaves it to params_file.",
        ),
        (
            "backend",
            "",
            "auto or the name of an engine; empty leaves it to params_file.",
        ),
        ("autostart", "", "true or false; empty leaves it to params_file."),
        ("use_sim_time", "false", "Take the time from /clock (bags, simulation)."),
        (
            "dds_profile",
            DEFAULT_PROFILE,
            "Fast DDS profile: default is config/fastdds_large_images.xml, with shared memory for"
            " large images, unless the environment has one; or a file; or empty for none.",
        ),
        ("log_level", "info", "debug, info, warn, error or fatal."),
    ]


def profile_actions(profile, environment):
    """Return the actions that give the processes started after them a DDS profile.

    One that the user has exported is kept, unless the argument names another.
    """
    if not profile:
        return []
    if profile == DEFAULT_PROFILE:
        kept = [name for name in TRANSPORT_VARIABLES if environment.get(name)]
        if kept:
            said = " and ".join(f"{name}={environment[name]}" for name in kept)
            return [LogInfo(msg=f"irvis_fusion: the DDS settings stay as exported, {said}")]
        share = get_package_share_directory(PACKAGE)
        profile = os.path.join(share, "config", "fastdds_large_images.xml")
    return [SetEnvironmentVariable(name, profile) for name in PROFILE_VARIABLES]


def make_actions(context):
    """Return the actions once the arguments are known."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    # Only what was given overrules the file; the rest is the file's.
    overrides = {"use_sim_time": value("use_sim_time") == "true"}
    for name in ("model", "backend"):
        if value(name):
            overrides[name] = value(name)
    if value("autostart"):
        overrides["autostart"] = value("autostart") == "true"

    actions = profile_actions(value("dds_profile"), context.environment)
    actions.append(
        LifecycleNode(
            package=PACKAGE,
            executable="fusion_node",
            name=value("name"),
            namespace=value("namespace"),
            parameters=[value("params_file"), overrides],
            remappings=[
                ("ir/image_raw", value("ir")),
                ("ir/image_raw/compressed", value("ir") + "/compressed"),
                ("vis/image_raw", value("vis")),
                ("vis/image_raw/compressed", value("vis") + "/compressed"),
                ("vis/camera_info", value("vis_info")),
                ("ir/camera_info", value("ir_info")),
                ("fused/image_raw", value("fused")),
                ("fused/image_raw/compressed", value("fused") + "/compressed"),
                ("fused/camera_info", value("fused_info")),
            ],
            arguments=["--ros-args", "--log-level", value("log_level")],
            output="screen",
        )
    )
    return actions


def generate_launch_description():
    """Return the launch description."""
    share = get_package_share_directory(PACKAGE)
    declared = [
        DeclareLaunchArgument(
            name, default_value=default, description=description, choices=CHOICES.get(name)
        )
        for name, default, description in launch_arguments(share)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_actions)])
