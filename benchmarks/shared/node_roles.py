"""The processes of `node_latency` and `shared_memory`: camera, consumer, relays, the node.

Camera and consumer print one line of JSON each. The node has a stand-in engine.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import struct
import sys
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header

from irvis_fusion_core.streams.stamps import NS_PER_S, stamp_ns
from irvis_fusion_ros.node import fusion_node
from irvis_fusion_ros.node.malloc_tuning import keep_freed_memory
from irvis_fusion_ros.running_node.camera_messages import make_image

IMAGES = 8
"""Number of different images: a thermal camera that repeats one image counts as frozen."""
STEPS = ("read_ms", "thermal_ms", "registration_ms", "write_ms", "publish_ms")
"""The parts of `node_ms`."""
DEBUG = ("node_ms", "wait_ms", "engine_ms", *STEPS)
COUNTED = ("published", "frames ", "lost: ")
"""Begins of the node's counts in /diagnostics."""
RELAY_TOPIC = "/benchmark_relay/debug/publish_ms"
STAMP = struct.Struct("<iI")
STAMP_AT = 4
"""Where the stamp lies in a serialized message, behind its encapsulation."""


def cpu_times_s(pid: int) -> tuple[float, float]:
    """Return the processor time, in seconds, of a running process and of its main thread (Linux).

    The main thread is that of the executor.
    """

    def used_s(folder: str) -> float:
        with open(folder + "/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    return used_s(f"/proc/{pid}"), used_s(f"/proc/{pid}/task/{pid}")


def run_camera(
    size: tuple[int, int],
    seconds: float,
    rate_hz: float,
    warm_up_s: float = 0.0,
    watched: int | None = None,
    qos: QoSProfile | int = 5,
    subscribers: int = 2,
) -> None:
    """Publish both streams of (width, height); print the stamps of the warm-up and of the rest.

    Also prints the processor times that the process `watched` used while the rest was sent. Begins
    when the visible topic has its `subscribers`: the node under test and the observer.
    """
    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    vis, ir = (node.create_publisher(Image, name + "/image_raw", qos) for name in ("vis", "ir"))
    rng = np.random.default_rng(0)

    def noise(encoding: str, *shape: int) -> list[bytearray]:
        images = (rng.integers(0, 256, shape, np.uint8) for _ in range(IMAGES))
        header = Header(frame_id="camera")
        messages = (make_image(image, encoding, header) for image in images)
        return [bytearray(serialize_message(message)) for message in messages]

    width, height = size
    images = {"vis": noise("bgr8", height, width, 3), "ir": noise("mono8", height, width)}
    while vis.get_subscription_count() < subscribers or ir.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)
    start_s = time.monotonic()
    warm_up, count = int(warm_up_s * rate_hz), int((warm_up_s + seconds) * rate_hz)
    sent = []
    before_s = used_s = (0.0, 0.0)
    for number in range(count):
        time.sleep(max(0.0, start_s + number / rate_hz - time.monotonic()))
        if number == warm_up and watched is not None:
            before_s = cpu_times_s(watched)
        stamp = node.get_clock().now().to_msg()
        sent.append(stamp_ns(stamp))
        for publisher, kind in ((ir, "ir"), (vis, "vis")):
            message = images[kind][number % IMAGES]
            STAMP.pack_into(message, STAMP_AT, stamp.sec, stamp.nanosec)
            publisher.publish(bytes(message))
    time.sleep(0.5)  # for the frames on their way
    if watched is not None:
        used_s = cpu_times_s(watched)
    time.sleep(1.5)  # let the reliable writers finish
    cpu_s, executor_s = (used - before for used, before in zip(used_s, before_s))
    told = {"warm_up": sent[:warm_up], "sent": sent[warm_up:]}
    print(json.dumps({**told, "cpu_s": cpu_s, "executor_s": executor_s}))


def run_consumer(seconds: float, with_debug: bool = True) -> None:
    """Receive images and debug topics until silence; print all arrivals in nanoseconds.

    `arrivals` are (stamp, received by the middleware, callback) of the fused topic, `observed` the
    same of the visible one, which the node receives at the same moment. `debug` has (time of
    arrival, value) by topic, `counted` what the node says of its frames in /diagnostics; without
    `with_debug` it does not subscribe to them.
    """
    rclpy.init()
    node = rclpy.create_node("benchmark_consumer")
    arrivals: list[tuple[int, int, int]] = []
    observed: list[tuple[int, int, int]] = []
    last_s = [time.monotonic()]
    debug: dict[str, list[tuple[int, float]]] = {n: [] for n in (*DEBUG, "relay_publish_ms")}
    counted: dict[str, int] = {}

    def on_image(raw: bytes, info: dict, seen: list[tuple[int, int, int]]) -> None:
        now_ns = node.get_clock().now().nanoseconds
        sec, nanosec = STAMP.unpack_from(raw, STAMP_AT)
        seen.append((sec * NS_PER_S + nanosec, info["received_timestamp"], now_ns))
        last_s[0] = time.monotonic()

    def on_value(message: Float32, name: str) -> None:
        debug[name].append((node.get_clock().now().nanoseconds, message.data))

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": fusion"):
                of_frames = (v for v in status.values if v.key.startswith(COUNTED))
                counted.update({v.key: int(v.value) for v in of_frames})

    subscribe: Any = node.create_subscription  # rclpy's types lack a callback that takes `info`
    for topic, seen in (("fused/image_raw", arrivals), ("vis/image_raw", observed)):
        subscribe(Image, topic, functools.partial(on_image, seen=seen), 10, raw=True)
    topics = {name: "/fusion_node/debug/" + name for name in DEBUG}
    topics["relay_publish_ms"] = RELAY_TOPIC
    for name, topic in topics.items() if with_debug else ():
        subscribe(Float32, topic, functools.partial(on_value, name=name), 50)
    if with_debug:
        subscribe(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    end_s = time.monotonic() + seconds + 60.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.2)
        if arrivals and time.monotonic() - last_s[0] > 2.0:
            break
    told = {"arrivals": arrivals, "observed": observed, "debug": debug, "counted": counted}
    print(json.dumps(told))


def run_relay(pairing: bool = False, serialized: bool = False) -> None:
    """Republish vis/image_raw unchanged; with `pairing`, behind the stock synchroniser.

    With `serialized` no message becomes an object. It keeps freed memory as the node does, so that
    the two differ by the node's own work only.
    """
    keep_freed_memory()
    rclpy.init()
    node = rclpy.create_node("benchmark_relay")
    publisher = node.create_publisher(Image, "fused/image_raw", 5)
    debug = node.create_publisher(Float32, RELAY_TOPIC, 50)

    def publish(vis: Image) -> None:
        start_s = time.monotonic()
        publisher.publish(vis)
        if debug.get_subscription_count():
            debug.publish(Float32(data=1e3 * (time.monotonic() - start_s)))

    if pairing:
        import message_filters

        inputs = [message_filters.Subscriber(node, Image, n + "/image_raw") for n in ("ir", "vis")]
        both = message_filters.ApproximateTimeSynchronizer(inputs, 10, 0.05)
        both.registerCallback(lambda ir, vis: publish(vis))
    else:
        for topic, callback in (("vis/image_raw", publish), ("ir/image_raw", lambda ir: None)):
            node.create_subscription(Image, topic, callback, 10, raw=serialized)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(node)


def run_reference_node(engine_ms: float, arguments: list[str]) -> int:
    """Run the real node with an engine that waits `engine_ms` and fuses by maximum.

    With 0 it gives the image that it is to write to, or a stored one, and costs nothing: all
    processor time is the node's own.
    """

    class Reference:
        stored: np.ndarray | None = None

        def fuse_frame(
            self,
            ir: np.ndarray,
            vis: np.ndarray,
            order: str = "rgb",
            out: np.ndarray | None = None,
        ) -> np.ndarray:
            if engine_ms == 0:
                if out is not None:
                    return out
                if self.stored is None or self.stored.shape != vis.shape:
                    self.stored = np.full_like(vis, 127)
                return self.stored
            time.sleep(engine_ms / 1e3)
            return cv2.max(vis, cv2.merge([ir, ir, ir]), dst=out)

        def describe(self) -> dict[str, str]:
            return {"model": "reference"}

        def warm_up(self, *_: object) -> None:
            """Do nothing."""

        close = warm_up

    return fusion_node.main(arguments, lambda settings, progress: Reference())


if __name__ == "__main__":  # for a node of another revision, whose packages are on the path
    sys.exit(run_reference_node(float(sys.argv[1]), sys.argv[2:]))
