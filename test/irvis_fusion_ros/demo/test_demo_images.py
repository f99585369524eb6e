"""Images of the demo's cameras at the demo's detector."""

import numpy as np
import pytest


def test_images_survive_the_message():
    pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
    from std_msgs.msg import Header

    from irvis_fusion_ros.demo.demo_cameras import make_image
    from irvis_fusion_ros.demo.demo_detector import draw, pixels_of

    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    message = make_image(pixels, "rgb8", Header())
    assert (message.height, message.width, message.step) == (6, 9, 27)
    np.testing.assert_array_equal(pixels_of(message), pixels)
    np.testing.assert_array_equal(draw(pixels_of(message), [])[..., ::-1], pixels)
