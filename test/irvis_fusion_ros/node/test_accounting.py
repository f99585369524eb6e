"""Every frame that a camera published is accounted for, over DDS, against what the test sent."""

import os
import signal
import time

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import cv2
import numpy as np
from graph import stamp_key
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

EVEN, ODD = (48, 64), (37, 51)


def grid(size, channels, seed):
    rng = np.random.default_rng(seed)
    return np.squeeze(rng.integers(0, 256, (*size, channels), np.uint8))


def image(encoding, pixels, stamp, padding=0, big_endian=False):
    """A message built field by field, its rows padded."""
    rows = pixels.reshape(pixels.shape[0], -1)
    if big_endian:
        rows = rows.byteswap()
    rows = rows.view(np.uint8)
    rows = np.hstack([rows, np.full((rows.shape[0], padding), 0xA5, np.uint8)])
    message = Image(header=Header(stamp=stamp, frame_id="camera"), encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step, message.is_bigendian = rows.shape[1], int(big_endian)
    message.data.frombytes(rows.tobytes())
    return message


def uyvy_to_rgb(pixels):
    return cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_UYVY)


PLAIN = {"ir_frozen_after_s": 0.0, "thermal.method": "percentile", "limit_flicker": False}
CAMERAS = [  # encoding, size, channels, bytes behind a row, encoding that goes out, its pixels
    ("bgr8", EVEN, 3, 0, "bgr8", np.array),
    ("rgb8", ODD, 3, 5, "rgb8", np.array),
    ("mono8", ODD, 1, 13, "mono8", np.array),
    ("yuv422", EVEN, 2, 0, "rgb8", uyvy_to_rgb),
]


def counts(graph):
    """The frames of the visible camera by what became of them since `start`."""
    status = graph.statuses.get("fusion")
    values = {} if status is None else {each.key: each.value for each in status.values}
    kinds = ("frames ", "lost: ", "published", "on their way")
    found = {k.replace("frames ", ""): int(n) for k, n in values.items() if k.startswith(kinds)}
    return {key: n - graph.counts_before.get(key, 0) for key, n in found.items()}


def start(graph):
    """Wait until frames come out, and forget what came before."""
    graph.counts_before = {}
    graph.play_until(lambda: len(graph.fused) >= 5, "output")
    graph.wait_for(lambda: stamp_key(graph.fused[-1]) == max(graph.sent_vis), what="the last")
    graph.wait_for_report()
    graph.counts_before = counts(graph)
    graph.fused.clear()
    graph.sent_vis.clear()


def wait_for_account(graph, published):
    """Wait until the report accounts for `published` frames; return it by outcome."""

    def complete():
        found = counts(graph)
        return found.get("published") == published and not found["on their way"]

    try:
        graph.wait_for(complete)
    except AssertionError as error:
        text = f"expected an account of {published} frames, found {counts(graph)}"
        raise AssertionError(text) from error
    found = counts(graph)
    assert found.pop("published") == sum(found.values()) == published
    return found


def test_each_encoding_goes_out_once_in_order_and_as_it_should(graph):
    graph.start_node(PLAIN)
    start(graph)
    sent = []
    for number in range(40):
        encoding, size, channels, padding, out_encoding, expected = CAMERAS[number // 10]
        pixels, stamp = grid(size, channels, number), graph.now()
        cold = np.full((30, 40), 29315, np.uint16)
        graph.ir.publish(image("mono16", cold, stamp, big_endian=True))
        graph.spin(0.02)
        message = image(encoding, pixels, stamp, padding)
        graph.vis.publish(message)
        sent.append((message, out_encoding, expected(pixels)))
        graph.spin(0.02)
    broken = serialize_message(sent[-1][0])[:-9]
    graph.vis.publish(broken)
    graph.ir.publish(broken[:50])
    graph.wait_for(lambda: len(graph.fused) == len(sent), what="every frame")
    assert [stamp_key(m) for m in graph.fused] == [stamp_key(m) for m, _, _ in sent]
    for out, (message, encoding, pixels) in zip(graph.fused, sent):
        assert (out.encoding, out.header) == (encoding, message.header)
        # A thermal image of one temperature becomes black: the brighter of both is the visible.
        found = np.frombuffer(out.data, np.uint8).reshape(out.height, -1)[:, : pixels[0].size]
        np.testing.assert_array_equal(found, pixels.reshape(out.height, -1))
    graph.wait_for_named("vis: unreadable", "ir: unreadable")
    found = wait_for_account(graph, len(sent) + 1)
    assert found["dropped: vis_unreadable"] == 1 and found["lost: reader queue"] == 0


def test_a_burst_after_a_stall_is_lost_by_a_number_that_is_told(graph):
    graph.start_node({"vis_qos.depth": 5})
    start(graph)
    pid = graph.fusion.pid
    os.kill(pid, signal.SIGSTOP)
    for _ in range(25):
        graph.send_vis()
        time.sleep(0.01)
    os.kill(pid, signal.SIGCONT)
    graph.spin(0.5)
    graph.send_vis()  # the first message behind a gap tells of it
    found = wait_for_account(graph, len(graph.sent_vis))
    arrived = len(graph.sent_vis) - sum(n for key, n in found.items() if key.startswith("lost: "))
    graph.wait_for(lambda: len(graph.fused) == arrived, what="every frame that was not lost")
    assert len({stamp_key(message) for message in graph.fused}) == arrived


def test_frames_on_their_way_are_published_before_the_node_is_deactivated(graph):
    graph.start_node({"engine_stall_s": 5.0}, {"REFERENCE_FUSE_S": "0.4"})
    start(graph)
    for _ in range(4):
        graph.send_ir()
        graph.send_vis()
        graph.spin(0.05)
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_DEACTIVATE
    assert graph.call(ChangeState, "fusion_node/change_state", request).success
    found = wait_for_account(graph, len(graph.sent_vis))
    graph.wait_for(lambda: len(graph.fused) >= len(graph.sent_vis), what="every frame")
    graph.spin(0.6)  # the engine ends; its image comes too late
    assert [stamp_key(message) for message in graph.fused] == sorted(graph.sent_vis)
    assert found.get("passed: deactivated", 0) >= 1
    assert not any(outcome.startswith("dropped") for outcome in found)
