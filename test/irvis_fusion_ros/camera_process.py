"""One camera as a process of its own, to be killed: `camera_process.py TOPIC HZ KIND`."""

import sys
import time

import graph
import rclpy


def run(topic, rate_hz, kind):
    """Publish frames on `topic` until killed."""
    rclpy.init()
    node = rclpy.create_node("camera_" + kind)
    publisher = node.create_publisher(graph.Image, topic, 5)
    number = 0
    while True:
        make = graph.ir_frame if kind == "ir" else graph.vis_frame
        message = graph.image_message(make(number), node.get_clock().now().to_msg(), kind)
        publisher.publish(message)
        number += 1
        time.sleep(1.0 / rate_hz)


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]), sys.argv[3])
