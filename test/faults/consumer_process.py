"""A consumer of the fused images, to be killed or stopped: `consumer_process.py QOS SECONDS`."""

import sys
import time

import rclpy
from faults.scene import profile
from sensor_msgs.msg import Image


def run(quality, seconds):
    """Take images and spend `seconds` on each, until killed."""
    rclpy.init()
    node = rclpy.create_node("consumer")
    qos = profile(quality != "best_effort", 5, quality == "transient_local")
    node.create_subscription(Image, "fused/image_raw", lambda _: time.sleep(seconds), qos)
    rclpy.spin(node)


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]))
