r"""Start the fusion node; `ros2 launch irvis_fusion fusion.launch.py --show-args` lists it all.

Example::

    ros2 launch irvis_fusion fusion.launch.py \\
        ir:=/boson/image_raw vis:=/camera/image_raw vis_info:=/camera/camera_info
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from launch import LaunchDescription

PACKAGE = "irvis_fusion"


def launch_arguments(share):
    """Return the arguments: name, default, description."""
    return [
        ("namespace", "", "Namespace of the node; relative topics follow it."),
        ("name", "fusion_node", "Name of the node."),
        (
            "params_file",
            os.path.join(share, "config", "fusion.yaml"),
            "YAML file of parameters; boson.yaml, lepton.yaml and jetson.yaml lie beside it.",
        ),
        ("ir", "ir/image_raw", "Topic of the thermal images."),
        ("vis", "vis/image_raw", "Topic of the visible images."),
        ("vis_info", "vis/camera_info", "Topic of the visible camera's calibration."),
        ("fused", "fused/image_raw", "Topic of the fused images."),
        ("fused_info", "fused/camera_info", "Topic of the calibration beside them."),
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
            os.path.join(share, "config", "fastdds_large_images.xml"),
            "Fast DDS profile with a shared-memory segment for large images; empty for none.",
        ),
        ("log_level", "info", "debug, info, warn, error or fatal."),
    ]


def make_actions(context):
    """Return the actions once the arguments are known."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    # Only what was given overrules the file; the rest is the file's.
    overrides = {"use_sim_time": value("use_sim_time").lower() == "true"}
    for name in ("model", "backend"):
        if value(name):
            overrides[name] = value(name)
    if value("autostart"):
        overrides["autostart"] = value("autostart").lower() == "true"

    actions = []
    if value("dds_profile"):
        # The old name is Humble's; newer Fast DDS knows both.
        for variable in (
            "FASTRTPS_DEFAULT_PROFILES_FILE",
            "FASTDDS_DEFAULT_PROFILES_FILE",
        ):
            actions.append(SetEnvironmentVariable(variable, value("dds_profile")))
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
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in launch_arguments(share)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_actions)])
