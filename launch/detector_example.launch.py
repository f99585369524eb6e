r"""Put any RGB node behind the fusion: it takes the fused topic by a remap, unchanged itself.

Example, with a detector that subscribes to `image_raw`::

    ros2 launch irvis_fusion detector_example.launch.py \\
        package:=my_detector executable:=detector_node image_topic:=image_raw

All arguments of fusion.launch.py work here, too.
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
    ]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            # First the fusion, which declares its own arguments.
            IncludeLaunchDescription(PythonLaunchDescriptionSource(fusion)),
            Node(
                package=LaunchConfiguration("package"),
                executable=LaunchConfiguration("executable"),
                namespace=LaunchConfiguration("namespace"),
                remappings=[
                    (LaunchConfiguration("image_topic"), LaunchConfiguration("fused")),
                    (LaunchConfiguration("info_topic"), LaunchConfiguration("fused_info")),
                ],
                output="screen",
            ),
        ]
    )
