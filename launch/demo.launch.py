"""Play the drawn night street into the fusion node; opens no window.

Example::

    ros2 launch irvis_fusion demo.launch.py
    ros2 topic hz /fused/image_raw

All arguments of fusion.launch.py work here, too; docs/node.md shows how to look at the images.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

PACKAGE = "irvis_fusion"


def generate_launch_description():
    """Return the fusion node and two cameras on its input topics."""
    fusion = os.path.join(get_package_share_directory(PACKAGE), "launch", "fusion.launch.py")
    cameras = Node(
        package=PACKAGE,
        executable="demo_cameras",
        namespace=LaunchConfiguration("namespace"),
        remappings=[
            ("ir/image_raw", LaunchConfiguration("ir")),
            ("vis/image_raw", LaunchConfiguration("vis")),
            ("vis/camera_info", LaunchConfiguration("vis_info")),
        ],
        output="screen",
    )
    return LaunchDescription(
        [IncludeLaunchDescription(PythonLaunchDescriptionSource(fusion)), cameras]
    )
