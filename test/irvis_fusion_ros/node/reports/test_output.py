"""What /diagnostics says of subscribers that get nothing, from a running node and its graph."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import numpy as np
from graph import Graph, image_message
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32, String

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)


@pytest.fixture
def unheard(tmp_path):
    """A graph that does not take the fused topics."""
    joined = Graph(tmp_path, subscribe=False)
    yield joined
    joined.close()


def wait_until_said(graph, *texts):
    graph.wait_for(
        lambda: (
            "output" in graph.statuses
            and all(text in graph.statuses["output"].message for text in texts)
        ),
        what=" and ".join(texts),
    )
    assert graph.level("output") == 1


def test_transient_local_subscribers_are_named_with_what_to_do(unheard):
    topics = {
        "/fused/image_raw": Image,
        "/fused/camera_info": CameraInfo,
        "/fused/image_raw/compressed": CompressedImage,
        "/fusion_node/debug/total_ms": Float32,
    }
    for topic, kind in topics.items():
        unheard.node.create_subscription(kind, topic, print, LATCHED)
    unheard.start_node({"publish_compressed": True})
    asks = "it asks for reliable, transient_local, found reliable, volatile; "
    advice = "set output_qos.durability: transient_local, or let it subscribe volatile"
    wait_until_said(
        unheard, *(f"/test gets nothing of {topic}: {asks}{advice}" for topic in topics)
    )
    fusion = unheard.statuses["fusion"].message
    assert "no subscriber of the fused topics can be served" in fusion
    assert {topic: topic in fusion for topic in topics} == {
        topic: "debug" not in topic for topic in topics
    }
    assert "output: /test gets nothing of /fused/image_raw" in unheard.fusion.log()


def test_reliable_subscribers_wrong_types_and_topics_that_are_switched_off(unheard):
    unheard.node.create_subscription(Image, "/fused/image_raw", print, RELIABLE)
    unheard.node.create_subscription(CompressedImage, "/fused/image_raw/compressed", print, 1)
    unheard.node.create_subscription(String, "/fused/camera_info", print, 1)
    unheard.start_node({"output_qos.reliability": "best_effort"})
    wait_until_said(
        unheard,
        "set output_qos.reliability: reliable, or let it subscribe best_effort",
        "/fused/image_raw/compressed: set publish_compressed: true",
        "it expects std_msgs/msg/String, found sensor_msgs/msg/CameraInfo",
    )


def test_the_advice_helps_and_images_beyond_the_shared_memory_are_named(unheard):
    fused = []
    unheard.node.create_subscription(Image, "/fused/image_raw", fused.append, LATCHED)
    small = {"shared_memory.width": 80, "shared_memory.height": 60, "output_qos.depth": 5}
    unheard.start_node({"output_qos.durability": "transient_local", **small})
    unheard.play_until(lambda: fused, "an image")
    unheard.wait_for_report()
    assert unheard.level("output") == 0  # 8 MB are enough for 160x120
    pixels = np.zeros((1024, 1280, 3), np.uint8)

    def send():
        unheard.vis.publish(image_message(pixels, unheard.now(), "camera"))
        unheard.spin(0.2)
        return unheard.level("output") == 1

    unheard.wait_for(send, what="the warning")
    said = unheard.statuses["output"].message
    assert "images of 1280x1024" in said and "(80x60)" in said
