r"""Start the fusion node; `ros2 launch irvis_fusion fusion.launch.py --show-args` lists it all.

Example::

    ros2 launch irvis_fusion fusion.launch.py \\
        ir:=/boson/image_raw vis:=/camera/image_raw vis_info:=/camera/camera_info

An argument that is not given leaves its parameter to params_file, to the launch file that includes
this one (SetParameter, SetParametersFromFile), or to the node's default.
"""

import os
import shlex

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from launch import LaunchDescription

PACKAGE = "irvis_fusion"

# The old name is Humble's; newer Fast DDS knows both.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
# Whoever sets one of these has decided how images travel.
TRANSPORT_VARIABLES = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
DEFAULT_PROFILE = "default"

TRUTH = {"true": True, "1": True, "false": False, "0": False}
# At level debug these would bury the node's own lines.
MIDDLEWARE_LOGGERS = ("rcl", "rmw_fastrtps_cpp", "rmw_cyclonedds_cpp", "rmw_zenoh_cpp")

# Name, default, description.
ARGUMENTS = (
    ("namespace", "", "Namespace of the node; relative topics follow it."),
    ("name", "fusion_node", "Name of the node."),
    (
        "params_file",
        "",
        "YAML files of parameters, separated by spaces; a later one wins. A path, or a name in the"
        " package's config/: boson, lepton, jetson; fusion.yaml there lists every default.",
    ),
    ("ir", "ir/image_raw", "Topic of the thermal images."),
    ("vis", "vis/image_raw", "Topic of the visible images."),
    ("vis_info", "vis/camera_info", "Topic of the visible camera's calibration."),
    ("ir_info", "ir/camera_info", "Topic of the thermal camera's calibration."),
    ("fused", "fused/image_raw", "Topic of the fused images."),
    ("fused_info", "fused/camera_info", "Topic of the fused camera_info."),
    ("model", "", "auto, nano, small, base or an .onnx file."),
    ("backend", "", "auto or the name of an engine."),
    ("autostart", "", "true or false: configure and activate at start."),
    ("use_sim_time", "", "true or false: take the time from /clock (bags, simulation)."),
    ("respawn", "false", "true or false: start the node again when it has died."),
    (
        "dds_profile",
        DEFAULT_PROFILE,
        "Fast DDS profile of the node alone: with default it makes its own, with shared memory for"
        " its images, unless the environment has one; or a file; or empty for none.",
    ),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)


def profile_environment(profile, environment):
    """Return what the environment of the node has beyond that of the launch.

    With the default the node brings its own profile, unless the user has exported one.
    """
    if profile == DEFAULT_PROFILE:
        return {}
    if profile:
        return dict.fromkeys(PROFILE_VARIABLES, profile)
    exported = any(environment.get(name) for name in TRANSPORT_VARIABLES)
    return {} if exported else {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"}


def find_parameter_files(names):
    """Return the files that `names` names, and the paths of those that do not exist."""
    config = os.path.join(get_package_share_directory(PACKAGE), "config")
    files, missing = [], []
    for name in [names] if os.path.isfile(names) else shlex.split(names):
        path = os.path.abspath(os.path.expanduser(name))
        shipped = os.path.join(config, name)
        found = [each for each in (path, shipped, shipped + ".yaml") if os.path.isfile(each)]
        (files if found else missing).append(found[0] if found else path)
    return files, missing


def make_actions(context):
    """Return the actions once the arguments are known.

    Values that cannot be are handed on to the node, which names them and ends: an exception here
    would end the whole launch, and with it the rest of the robot.
    """

    def value(name):
        return LaunchConfiguration(name).perform(context)

    def given(name):
        return TRUTH.get(value(name).lower(), value(name))

    names = ("model", "backend", "autostart", "use_sim_time")
    overrides = {name: given(name) for name in names if value(name)}
    files, missing = find_parameter_files(value("params_file"))
    level = value("log_level").lower()
    ros_arguments = ["--log-level", level]
    if level == "debug":
        for logger in MIDDLEWARE_LOGGERS:
            ros_arguments += ["--log-level", logger + ":=info"]
    actions = []
    for path in missing:  # launch_ros would warn, and start the node without it
        ros_arguments += ["--params-file", path]
        shipped = os.listdir(os.path.join(get_package_share_directory(PACKAGE), "config"))
        shipped = ", ".join(sorted(name for name in shipped if name.endswith(".yaml")))
        actions.append(LogInfo(msg=f"irvis_fusion: no file {path}; config/ has {shipped}"))
    actions.append(
        LifecycleNode(
            package=PACKAGE,
            executable="fusion_node",
            name=value("name"),
            namespace=value("namespace"),
            parameters=[*files, overrides] if overrides else files,
            remappings=[  # of the images: their compressed topics follow
                ("ir/image_raw", value("ir")),
                ("vis/image_raw", value("vis")),
                ("vis/camera_info", value("vis_info")),
                ("ir/camera_info", value("ir_info")),
                ("fused/image_raw", value("fused")),
                ("fused/camera_info", value("fused_info")),
            ],
            ros_arguments=ros_arguments,
            additional_env=profile_environment(value("dds_profile"), context.environment),
            respawn=given("respawn") is True,
            respawn_delay=2.0,
            output="screen",
        )
    )
    return actions


def generate_launch_description():
    """Return the launch description."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_actions)])
