"""The processes of `node_latency`: camera, consumer, relays, the node with a stand-in engine.

Camera and consumer print one line of JSON each.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header

from irvis_fusion_core.streams.stamps import stamp_ns
from irvis_fusion_ros.node import fusion_node
from irvis_fusion_ros.node.malloc_tuning import keep_freed_memory
from irvis_fusion_ros.running_node.camera_messages import make_image

HEIGHT, WIDTH = 480, 640
IMAGES = 8
"""Number of different images: a thermal camera that repeats one image counts as frozen."""
STEPS = ("read_ms", "thermal_ms", "registration_ms", "write_ms", "publish_ms")
"""The parts of `node_ms`."""
DEBUG = ("node_ms", "wait_ms", "engine_ms", *STEPS)
RELAY_TOPIC = "/benchmark_relay/debug/publish_ms"


def run_camera(seconds: float, rate_hz: float, warm_up_s: float) -> None:
    """Publish both streams at `rate_hz`; print the stamps of the warm-up and of the rest."""
    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    vis, ir = (node.create_publisher(Image, name + "/image_raw", 5) for name in ("vis", "ir"))
    rng = np.random.default_rng(0)

    def noise(encoding: str, *shape: int) -> list[Image]:
        images = (rng.integers(0, 256, shape, np.uint8) for _ in range(IMAGES))
        return [make_image(image, encoding, Header(frame_id="camera")) for image in images]

    images = {"vis": noise("bgr8", HEIGHT, WIDTH, 3), "ir": noise("mono8", HEIGHT, WIDTH)}
    # The visible topic has two subscribers: the node under test and the observer.
    while vis.get_subscription_count() < 2 or ir.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)
    start_s = time.monotonic()
    warm_up, count = int(warm_up_s * rate_hz), int((warm_up_s + seconds) * rate_hz)
    sent = []
    for number in range(count):
        time.sleep(max(0.0, start_s + number / rate_hz - time.monotonic()))
        stamp = node.get_clock().now().to_msg()
        sent.append(stamp_ns(stamp))
        for publisher, kind in ((ir, "ir"), (vis, "vis")):
            message = images[kind][number % IMAGES]
            message.header.stamp = stamp
            publisher.publish(message)
    time.sleep(2.0)  # let the reliable writers finish
    print(json.dumps({"warm_up": sent[:warm_up], "sent": sent[warm_up:]}))


def run_consumer(seconds: float) -> None:
    """Receive images and debug topics until silence; print all arrivals in nanoseconds.

    `arrivals` are (stamp, received by the middleware, callback) of the fused topic, `observed` the
    same of the visible one, which the node receives at the same moment. `debug` has (time of
    arrival, value) by topic.
    """
    rclpy.init()
    node = rclpy.create_node("benchmark_consumer")
    arrivals: list[tuple[int, int, int]] = []
    observed: list[tuple[int, int, int]] = []
    last_s = [time.monotonic()]
    debug: dict[str, list[tuple[int, float]]] = {n: [] for n in (*DEBUG, "relay_publish_ms")}

    def on_image(message: Image, info: dict, seen: list[tuple[int, int, int]]) -> None:
        now_ns = node.get_clock().now().nanoseconds
        seen.append((stamp_ns(message.header.stamp), info["received_timestamp"], now_ns))
        last_s[0] = time.monotonic()

    def on_value(message: Float32, name: str) -> None:
        debug[name].append((node.get_clock().now().nanoseconds, message.data))

    subscribe: Any = node.create_subscription  # rclpy's types lack a callback that takes `info`
    subscribe(Image, "fused/image_raw", functools.partial(on_image, seen=arrivals), 10)
    subscribe(Image, "vis/image_raw", functools.partial(on_image, seen=observed), 10)
    topics = {name: "/fusion_node/debug/" + name for name in DEBUG}
    for name, topic in {**topics, "relay_publish_ms": RELAY_TOPIC}.items():
        subscribe(Float32, topic, functools.partial(on_value, name=name), 50)
    end_s = time.monotonic() + seconds + 60.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.2)
        if arrivals and time.monotonic() - last_s[0] > 2.0:
            break
    print(json.dumps({"arrivals": arrivals, "observed": observed, "debug": debug}))


def run_relay(pairing: bool) -> None:
    """Republish vis/image_raw unchanged; with `pairing`, behind the stock synchroniser.

    It keeps freed memory as the node does, so that the two differ by the node's own work only.
    """
    keep_freed_memory()
    rclpy.init()
    node = rclpy.create_node("benchmark_relay")
    publisher = node.create_publisher(Image, "fused/image_raw", 5)
    debug = node.create_publisher(Float32, RELAY_TOPIC, 50)

    def publish(vis: Image) -> None:
        start_s = time.monotonic()
        publisher.publish(vis)
        debug.publish(Float32(data=1e3 * (time.monotonic() - start_s)))

    if pairing:
        import message_filters

        inputs = [message_filters.Subscriber(node, Image, n + "/image_raw") for n in ("ir", "vis")]
        both = message_filters.ApproximateTimeSynchronizer(inputs, 10, 0.05)
        both.registerCallback(lambda ir, vis: publish(vis))
    else:
        node.create_subscription(Image, "vis/image_raw", publish, 10)
        node.create_subscription(Image, "ir/image_raw", lambda message: None, 10)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(node)


def run_reference_node(engine_ms: float, arguments: list[str]) -> int:
    """Run the real node with an engine that waits `engine_ms` and fuses by maximum."""

    class Reference:
        def fuse_frame(self, ir: np.ndarray, vis: np.ndarray, order: str = "rgb") -> np.ndarray:
            time.sleep(engine_ms / 1e3)
            return cv2.max(vis, cv2.merge([ir, ir, ir]))

        def describe(self) -> dict[str, str]:
            return {"model": "reference"}

        def warm_up(self, *_: object) -> None:
            """Do nothing."""

        close = warm_up

    return fusion_node.main(arguments, lambda settings, progress: Reference())
