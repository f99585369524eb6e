"""An example of a launch test: the node fuses the demo's cameras; `launch_test THIS_FILE`.

Copy it into a package of yours, and include your own bringup instead of demo.launch.py.
"""

import os
import time
import unittest

import launch_testing.actions
import launch_testing.asserts
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from sensor_msgs.msg import Image

from launch import LaunchDescription

TIMEOUT_S = 60.0


def generate_test_description():
    """Return what is launched before the tests run."""
    share = get_package_share_directory("irvis_fusion")
    demo = PythonLaunchDescriptionSource(os.path.join(share, "launch", "demo.launch.py"))
    ready = launch_testing.actions.ReadyToTest()
    return LaunchDescription([IncludeLaunchDescription(demo), ready])


class FusedImage(unittest.TestCase):
    """While everything runs."""

    def setUp(self):
        rclpy.init()
        self.node = rclpy.create_node("fused_image_test")

    def tearDown(self):
        self.node.destroy_node()
        rclpy.shutdown()

    def test_each_fused_image_is_a_visible_one_with_other_pixels(self):
        seen = {"vis": {}, "fused": {}}
        for name, images in seen.items():

            def keep(message, images=images):
                images[message.header.stamp.sec, message.header.stamp.nanosec] = message

            self.node.create_subscription(Image, name + "/image_raw", keep, 10)
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            rclpy.spin_once(self.node, timeout_sec=0.1)
            for stamp in set(seen["vis"]) & set(seen["fused"]):
                vis, fused = seen["vis"][stamp], seen["fused"][stamp]
                self.assertEqual(
                    (vis.encoding, vis.width, vis.height, vis.header.frame_id),
                    (fused.encoding, fused.width, fused.height, fused.header.frame_id),
                )
                if vis.data != fused.data:
                    return
        self.fail(f"no fused image within {TIMEOUT_S:.0f} s")


@launch_testing.post_shutdown_test()
class AtTheEnd(unittest.TestCase):
    """After everything has ended."""

    def test_every_process_ended_in_order(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
