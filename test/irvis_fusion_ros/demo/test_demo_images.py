"""Images of the demo's cameras at the demo's detector."""

import numpy as np
import pytest

from irvis_fusion_ros.messages.image_messages import view


def test_images_survive_the_message():
    pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
    from std_msgs.msg import Header

    from irvis_fusion_ros.running_node.camera_messages import make_image

    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    message = make_image(pixels, "rgb8", Header())
    assert (message.height, message.width, message.step) == (6, 9, 27)
    np.testing.assert_array_equal(view(message), pixels)
