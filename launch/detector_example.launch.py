r"""Put any RGB node behind the fusion: it takes the fused topic by a remap, unchanged itself.

Example, with a detector that subscribes to `image_raw`::

    ros2 launch irvis_fusion detector_example.launch.py \\
        package:=my_detector executable:=detector_node image_topic:=image_raw
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

PACKAGE = "irvis_fusion"


def generate_launch_description():
    """Return the fusion node and one consumer, remapped onto the fused topics."""
    fusion = os.path.join(get_package_share_directory(PACKAGE), "launch", "fusion.launch.py")
    arguments = [
        ("package", None, "Package of the consumer."),
        ("executable", None, "Executable of the consumer."),
        ("image_topic", "image_raw", "Topic from which the consumer takes its images."),
        ("info_topic", "camera_info", "Topic from which it takes the calibration."),
        ("ir", "ir/image_raw", "Topic of the thermal images."),
        ("vis", "vis/image_raw", "Topic of the visible images."),
        ("vis_info", "vis/camera_info", "Topic of the visible camera's calibration."),
    ]
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in arguments
    ]
    cameras = {name: LaunchConfiguration(name) for name in ("ir", "vis", "vis_info")}
    return LaunchDescription(
        [
            *declared,
            # First the fusion: it sets the DDS profile for what is started after it, too.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(fusion), launch_arguments=cameras.items()
            ),
            Node(
                package=LaunchConfiguration("package"),
                executable=LaunchConfiguration("executable"),
                remappings=[
                    (LaunchConfiguration("image_topic"), "fused/image_raw"),
                    (LaunchConfiguration("info_topic"), "fused/camera_info"),
                ],
                output="screen",
            ),
        ]
    )
