"""What goes out for a visible frame that is not fused."""

import cv2
import numpy as np
import pytest
from message_builders import compressed, from_array

pytest.importorskip("rclpy", reason="needs ROS 2: the wheels of '.[ros]' or an installation")

from sensor_msgs.msg import Image

from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.node.frame_processor import Outputs


class Published(list):
    """A publisher with one subscriber."""

    publish = list.append

    def get_subscription_count(self):
        return 1


@pytest.fixture
def outputs():
    return Outputs(Published(), Published(), Published(), {"jpeg_quality": 90})


def test_rgb_goes_out_as_it_came(outputs):
    message = from_array("rgb8", np.full((4, 6, 3), 7, np.uint8))
    outputs.publish_unchanged(message)
    assert [id(sent) for sent in outputs.image] == [id(message)]


def test_a_mosaic_goes_out_in_the_encoding_of_the_fused_images(outputs):
    mosaic = np.full((8, 8), 90, np.uint8)
    message = from_array("bayer_rggb8", mosaic)
    message.header = Image().header
    outputs.publish_unchanged(message)
    (sent,) = outputs.image
    assert sent.encoding == image_messages.output_encoding("bayer_rggb8") == "rgb8"
    assert (image_messages.view(sent) == 90).all()


def test_an_encoding_unknown_here_goes_out_as_it_came(outputs):
    message = from_array("mono8", np.zeros((4, 4), np.uint8))
    message.encoding = "jpeg2000_planes"
    outputs.compressed = None
    outputs.publish_unchanged(message)
    assert [id(sent) for sent in outputs.image] == [id(message)]


def test_a_broken_compressed_image_goes_out_on_no_topic(outputs):
    sound = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    message = compressed(sound, "jpeg")
    message.header = Image().header
    outputs.publish_unchanged(message)
    assert len(outputs.image) == len(outputs.compressed) == 1
    broken = compressed(b"no image", "jpeg")
    with pytest.raises(image_messages.ImageMessageError):
        outputs.publish_unchanged(broken)
    assert len(outputs.image) == len(outputs.compressed) == 1
