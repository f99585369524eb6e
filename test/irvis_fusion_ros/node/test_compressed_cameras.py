"""Hostile compressed images among numbered frames: they cost themselves alone, by cause."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import cv2
import numpy as np
from graph import (
    DEPTH,
    HEIGHT,
    WIDTH,
    assert_every_visible_frame_came_out_once,
    ir_frame,
    stamp_key,
    vis_frame,
    wait_until_all_are_out,
)
from hostile_images import declaring, png, with_scans
from sensor_msgs.msg import CompressedImage

FRAMES = 30
HOSTILE = {
    "undecodable": png(length=0x7FFFFFFF),
    "too_many_scans": with_scans(500),
    "too_large": declaring("PNG", 4000, 4000),
    "unknown_format": b"GIF89a" + bytes(50),
}


@pytest.fixture
def camera(graph):
    """Returns a function that publishes a compressed image, PNG where it is given pixels."""
    publishers = {}

    def send(name, image, stamp):
        if name not in publishers:
            topic = name + "/image_raw/compressed"
            publishers[name] = graph.node.create_publisher(CompressedImage, topic, DEPTH)
            graph.wait_for(publishers[name].get_subscription_count, what="the node's subscription")
        data = image if isinstance(image, bytes) else cv2.imencode(".png", image)[1].tobytes()
        message = CompressedImage(format="png", data=data)
        message.header.stamp = stamp
        publishers[name].publish(message)
        return stamp_key(message)

    return send


def outcomes(graph):
    """Return how many visible frames came to what end, as the node counts them."""
    graph.wait_for_report()
    values = graph.statuses["fusion"].values
    return {v.key[len("frames ") :]: int(v.value) for v in values if v.key.startswith("frames ")}


def start(graph, first, **parameters):
    """Start the node; send `first()` until one came out, and forget it. Returns the outcomes."""
    graph.start_node({"ir_frozen_after_s": 0.0, **parameters})

    def is_out():
        first()
        graph.spin(0.1)
        return bool(graph.fused)

    graph.wait_for(is_out, what="the first frame")
    wait_until_all_are_out(graph)
    graph.fused.clear()
    graph.sent_vis.clear()
    return outcomes(graph)


def grown(after, before):
    """Return by how much each count has grown, without those that have not."""
    growth = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: count for key, count in growth.items() if count}


def test_hostile_visible_images_are_dropped_by_cause_and_all_others_come_out(graph, camera):
    def send_vis():
        pixels = vis_frame(len(graph.sent_vis))
        graph.sent_vis[camera("vis", pixels, graph.now())] = pixels

    before = start(graph, send_vis, vis_transport="compressed")
    hostile = list(HOSTILE.values())
    for number in range(FRAMES):
        send_vis()
        if number % 7 == 3:
            camera("vis", hostile[number // 7], graph.now())
        graph.spin(0.02)
    wait_until_all_are_out(graph)
    assert_every_visible_frame_came_out_once(graph)
    counts = grown(outcomes(graph), before)
    assert {k: n for k, n in counts.items() if k.startswith("dropped")} == {
        f"dropped: vis_{kind}": 1 for kind in HOSTILE
    }
    assert sum(counts.values()) == FRAMES + len(HOSTILE)
    graph.wait_for_named(*(f"vis: {kind}" for kind in HOSTILE))


def test_hostile_thermal_images_cost_no_visible_frame(graph, camera):
    before = start(graph, graph.send_vis, ir_transport="compressed")
    hostile = list(HOSTILE.values())
    for number in range(FRAMES):
        camera("ir", ir_frame(number), graph.now())
        graph.send_vis()
        if number % 7 == 3:
            camera("ir", hostile[number // 7], graph.now())
        graph.spin(0.02)
    wait_until_all_are_out(graph)
    assert_every_visible_frame_came_out_once(graph)
    counts = grown(outcomes(graph), before)
    assert sum(counts.values()) == FRAMES and not any(k.startswith("dropped") for k in counts)
    graph.wait_for_named(*(f"ir: {kind}" for kind in HOSTILE))
    # The last one may be unpacked after the visible frames are out.
    expected = FRAMES + len(HOSTILE)
    graph.wait_for(lambda: int(graph.value("ir", "received")) >= expected, what="all IR messages")
    assert int(graph.value("ir", "received")) == expected


def test_raw_images_above_max_pixels_are_dropped_and_counted(graph):
    before = start(graph, graph.send_vis, max_pixels=HEIGHT * WIDTH)
    large = np.zeros((HEIGHT + 1, WIDTH, 3), np.uint8)
    for number in range(6):
        graph.send_vis()
        if number in (2, 4):
            stamp = graph.now()
            graph.send_vis(stamp, large)
            graph.send_ir(stamp, large[..., 0])
            del graph.sent_vis[max(graph.sent_vis)]
        graph.spin(0.02)
    wait_until_all_are_out(graph)
    assert_every_visible_frame_came_out_once(graph)
    counts = grown(outcomes(graph), before)
    assert counts.pop("dropped: vis_too_large") == 2 and sum(counts.values()) == 6
    graph.wait_for_named("vis: too_large", "ir: too_large")
