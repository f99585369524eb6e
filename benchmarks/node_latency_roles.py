"""The processes of `node_latency.py`: camera, consumer, relays, the node with a stand-in engine.

Camera and consumer print one line of JSON each; stamps are nanoseconds, latencies milliseconds.
"""

from __future__ import annotations

import array
import json
import sys
import time

import numpy as np

HEIGHT, WIDTH = 480, 640
IMAGES = 8
"""Different images in turn: a thermal camera that repeats itself counts as frozen."""
STEPS = ("read_ms", "thermal_ms", "registration_ms", "write_ms", "publish_ms")
"""What `node_ms` is made of."""
DEBUG = ("node_ms", "wait_ms", "engine_ms", *STEPS)
RELAY_TOPIC = "/benchmark_relay/debug/publish_ms"


def run_camera(seconds: float, rate_hz: float, warm_up_s: float) -> None:
    """Publish both streams by timetable; print the stamps sent, those of the warm-up apart."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    vis, ir = (node.create_publisher(Image, name + "/image_raw", 5) for name in ("vis", "ir"))
    rng = np.random.default_rng(0)
    images = {
        "vis": [make_image(rng, 3) for _ in range(IMAGES)],
        "ir": [make_image(rng, 1) for _ in range(IMAGES)],
    }
    # Two of the visible topic: the node under test, and the observer beside it.
    while vis.get_subscription_count() < 2 or ir.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)
    start_s = time.monotonic()
    warm_up, count = int(warm_up_s * rate_hz), int((warm_up_s + seconds) * rate_hz)
    sent = []
    for number in range(count):
        time.sleep(max(0.0, start_s + number / rate_hz - time.monotonic()))
        stamp = node.get_clock().now().to_msg()
        sent.append(stamp.sec * 10**9 + stamp.nanosec)
        for publisher, kind in ((ir, "ir"), (vis, "vis")):
            message = images[kind][number % IMAGES]
            message.header.stamp = stamp
            publisher.publish(message)
    time.sleep(2.0)  # let the reliable writers finish
    print(json.dumps({"warm_up": sent[:warm_up], "sent": sent[warm_up:]}))


def make_image(rng: np.random.Generator, channels: int):
    """Return a noise image as sensor_msgs/Image, mono8 or bgr8."""
    from sensor_msgs.msg import Image

    message = Image(height=HEIGHT, width=WIDTH, step=WIDTH * channels)
    message.encoding = "mono8" if channels == 1 else "bgr8"
    message.header.frame_id = "camera"
    pixels = array.array("B")
    pixels.frombytes(rng.integers(0, 256, HEIGHT * WIDTH * channels, np.uint8).data)
    message.data = pixels
    return message


def run_consumer(seconds: float) -> None:
    """Take images and debug topics until silence; print what arrived and when, in nanoseconds.

    `arrivals` are (stamp, received by the middleware, callback) of the fused topic, `observed` the
    same of the visible one, which the node receives at that moment, too. `debug` are (time of
    arrival, value) by topic.
    """
    import rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import Float32

    rclpy.init()
    node = rclpy.create_node("benchmark_consumer")
    arrivals: list[tuple[int, int, int]] = []
    observed: list[tuple[int, int, int]] = []
    last_s = [time.monotonic()]
    debug: dict[str, list[tuple[int, float]]] = {}

    def on_image(message: Image, info: dict, seen: list[tuple[int, int, int]] = arrivals) -> None:
        now_ns = node.get_clock().now().nanoseconds
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        seen.append((stamp_ns, info["received_timestamp"], now_ns))
        last_s[0] = time.monotonic()

    def on_visible(message: Image, info: dict) -> None:
        on_image(message, info, observed)

    def listen(topic: str, name: str) -> None:
        values = debug.setdefault(name, [])
        node.create_subscription(
            Float32,
            topic,
            lambda message: values.append((node.get_clock().now().nanoseconds, message.data)),
            50,
        )

    node.create_subscription(Image, "fused/image_raw", on_image, 10)
    node.create_subscription(Image, "vis/image_raw", on_visible, 10)
    for name in DEBUG:
        listen("/fusion_node/debug/" + name, name)
    listen(RELAY_TOPIC, "relay_publish_ms")
    end_s = time.monotonic() + seconds + 60.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.2)
        if arrivals and time.monotonic() - last_s[0] > 2.0:
            break
    print(json.dumps({"arrivals": arrivals, "observed": observed, "debug": debug}))


def run_relay(pairing: bool) -> None:
    """Republish vis/image_raw unchanged; with `pairing`, behind the stock synchroniser.

    It keeps freed memory as the node does, so that the two differ by what the node does alone.
    """
    from irvis_fusion_ros.node.malloc_tuning import keep_freed_memory

    keep_freed_memory()
    import rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import Float32

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
    rclpy.spin(node)


def run_reference_node(engine_ms: float, arguments: list[str]) -> int:
    """Run the real node with an engine that waits `engine_ms` and fuses by maximum."""
    import cv2

    from irvis_fusion_ros.node.fusion_node import main

    class Reference:
        def fuse_frame(self, ir, vis, order="rgb"):
            time.sleep(engine_ms / 1e3)
            return cv2.max(vis, cv2.merge([ir, ir, ir]))

        def warm_up(self, height, width):
            """Need nothing."""

        def describe(self):
            return {"model": "reference"}

        def close(self):
            """Hold nothing."""

    return main([sys.argv[0], *arguments], lambda settings, progress: Reference())
