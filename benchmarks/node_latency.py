"""What the fusion node adds to a frame: node, bare relay and stock pairing, each as a process.

A camera process publishes both streams (640x480 at 30 Hz), the node under test runs in a process
of its own, a consumer process takes what comes out. Latency is stamp to arrival at the consumer.
The node's own cost (all but the engine) comes from its debug topics, and from outside: its latency
less that of a bare relay (which does nothing but republish) less the engine's time::

    python benchmarks/node_latency.py --seconds 60
    python benchmarks/node_latency.py --seconds 10 --backend openvino --model nano

`--reference-engine-ms 8` replaces the engine by one that waits so long (and fuses by maximum), to
measure the node where no model or engine is installed. The large-image DDS profile is used in all
processes; `--no-dds-profile` shows what happens without.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROFILE = os.path.join(ROOT, "config", "fastdds_large_images.xml")
HEIGHT, WIDTH = 480, 640


def run_camera(seconds: float, rate_hz: float) -> None:
    """Publish both streams by timetable; print how many visible frames were sent."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    vis, ir = (node.create_publisher(Image, name + "/image_raw", 5) for name in ("vis", "ir"))
    rng = np.random.default_rng(0)
    pictures = {
        "vis": [make_image(rng, 3) for _ in range(8)],
        "ir": [make_image(rng, 1) for _ in range(8)],
    }
    while vis.get_subscription_count() == 0 or ir.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)
    start_s = time.monotonic()
    count = int(seconds * rate_hz)
    for number in range(count):
        time.sleep(max(0.0, start_s + number / rate_hz - time.monotonic()))
        stamp = node.get_clock().now().to_msg()
        for publisher, kind in ((ir, "ir"), (vis, "vis")):
            message = pictures[kind][number % 8]
            message.header.stamp = stamp
            publisher.publish(message)
    time.sleep(2.0)  # let the reliable writers finish
    print(json.dumps({"sent": count}))


def make_image(rng: np.random.Generator, channels: int):
    """Return a noise picture as sensor_msgs/Image, mono8 or bgr8."""
    from sensor_msgs.msg import Image

    message = Image(height=HEIGHT, width=WIDTH, step=WIDTH * channels)
    message.encoding = "mono8" if channels == 1 else "bgr8"
    message.header.frame_id = "camera"
    pixels = array.array("B")
    pixels.frombytes(rng.integers(0, 256, HEIGHT * WIDTH * channels, np.uint8).data)
    message.data = pixels
    return message


def run_consumer(topic: str, seconds: float) -> None:
    """Take images and the node's debug topics until silence; print what was seen."""
    import rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import Float32

    rclpy.init()
    node = rclpy.create_node("benchmark_consumer")
    arrivals_ms: list[float] = []
    last_s = [time.monotonic()]
    debug: dict[str, list[float]] = {"node_ms": [], "engine_ms": [], "wait_ms": []}

    def on_image(message: Image) -> None:
        stamp = message.header.stamp
        now_ns = node.get_clock().now().nanoseconds
        arrivals_ms.append((now_ns - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        last_s[0] = time.monotonic()

    node.create_subscription(Image, topic, on_image, 10)
    for name, values in debug.items():
        node.create_subscription(
            Float32, "/fusion_node/debug/" + name, lambda m, v=values: v.append(m.data), 50
        )
    end_s = time.monotonic() + seconds + 60.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.2)
        if arrivals_ms and time.monotonic() - last_s[0] > 2.0:
            break
    print(json.dumps({"arrivals_ms": arrivals_ms, "debug": debug}))


def run_relay(pairing: bool) -> None:
    """Republish vis/image_raw unchanged; with `pairing`, behind the stock synchroniser."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("benchmark_relay")
    publisher = node.create_publisher(Image, "fused/image_raw", 5)
    if pairing:
        import message_filters

        inputs = [message_filters.Subscriber(node, Image, n + "/image_raw") for n in ("ir", "vis")]
        both = message_filters.ApproximateTimeSynchronizer(inputs, 10, 0.05)
        both.registerCallback(lambda ir, vis: publisher.publish(vis))
    else:
        node.create_subscription(Image, "vis/image_raw", publisher.publish, 10)
        node.create_subscription(Image, "ir/image_raw", lambda message: None, 10)
    rclpy.spin(node)


def run_reference_node(engine_ms: float, arguments: list[str]) -> int:
    """Run the real node with an engine that waits `engine_ms` and fuses by maximum."""
    import cv2

    from irvis_fusion_ros.fusion_node import main

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

    return main(["node", *arguments], lambda settings, progress: Reference())


def start(arguments: list[str], environment: dict[str, str], capture: bool = False):
    """Start `python ARGUMENTS`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def measure(node_arguments: list[str], options: argparse.Namespace) -> dict:
    """Run camera, the given node and consumer; return counts and latencies."""
    environment = dict(os.environ, ROS_LOCALHOST_ONLY="1", PYTHONPATH=ROOT)
    environment["ROS_DOMAIN_ID"] = str(60 + os.getpid() % 40)
    if options.dds_profile:
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            environment[name] = PROFILE
    this = os.path.abspath(__file__)
    node = start(node_arguments, environment)
    try:
        time.sleep(options.settle_s)
        shared = ["--seconds", str(options.seconds), "--rate-hz", str(options.rate_hz)]
        consumer = start([this, "--role", "consumer", *shared], environment, capture=True)
        camera = start([this, "--role", "camera", *shared], environment, capture=True)
        limit_s = options.seconds + 90.0
        sent = json.loads(camera.communicate(timeout=limit_s)[0])["sent"]
        seen = json.loads(consumer.communicate(timeout=limit_s)[0])
    finally:
        cpu_s = cpu_time_s(node.pid)
        node.send_signal(signal.SIGINT)
        node.wait(20)
    return dict(seen, sent=sent, cpu_s=cpu_s)


def cpu_time_s(pid: int) -> float:
    """Return the processor time that a process has used (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return p50 and p99; NaN of nothing."""
    if not values:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(values, (50, 99))
    return float(p50), float(p99)


def compare(options: argparse.Namespace) -> int:
    """Measure relay, stock pairing where installed, and the node; print the table."""
    import importlib.util

    this = os.path.abspath(__file__)
    if options.reference_engine_ms is None:
        node = ["-m", "irvis_fusion_ros.fusion_node", "--ros-args"]
    else:
        milliseconds = str(options.reference_engine_ms)
        node = [this, "--role", "node", "--reference-engine-ms", milliseconds, "--ros-args"]
    for name in ("model", "backend"):
        node += ["-p", f"{name}:={getattr(options, name)}"]
    runs = {"relay": [this, "--role", "relay"]}
    if importlib.util.find_spec("message_filters"):
        runs["relay behind message_filters"] = [this, "--role", "stock"]
    runs["fusion_node"] = node
    results = {name: measure(arguments, options) for name, arguments in runs.items()}
    print(f"{WIDTH}x{HEIGHT} bgr8 and mono8 at {options.rate_hz:g} Hz for {options.seconds:g} s")
    print("| node | frames in | out | stamp to arrival p50 | p99 | cpu s |")
    print("|---|---|---|---|---|---|")
    for name, result in results.items():
        p50, p99 = percentiles(result["arrivals_ms"])
        sent, out = result["sent"], len(result["arrivals_ms"])
        print(f"| {name} | {sent} | {out} | {p50:.2f} ms | {p99:.2f} ms | {result['cpu_s']:.1f} |")
    debug = results["fusion_node"]["debug"]
    engine, engine_p99 = percentiles(debug["engine_ms"])
    own, own_p99 = percentiles(debug["node_ms"])
    print(f"engine p50 {engine:.2f} ms, p99 {engine_p99:.2f} ms ({len(debug['engine_ms'])} fused)")
    print(f"node's own cost by its topics: p50 {own:.2f} ms, p99 {own_p99:.2f} ms")
    node_p50, node_p99 = percentiles(results["fusion_node"]["arrivals_ms"])
    relay_p50 = percentiles(results["relay"]["arrivals_ms"])[0]
    print(f"from outside, beyond a bare relay: p50 {node_p50 - relay_p50 - engine:.2f} ms")
    print(f"p99 beyond the engine's own p99: {node_p99 - engine_p99:.2f} ms")
    return 0


def main() -> int:
    """Parse the command line and play the role."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--settle-s", type=float, default=5.0, help="for the engine to load")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--reference-engine-ms", type=float, default=None)
    parser.add_argument("--no-dds-profile", dest="dds_profile", action="store_false")
    parser.add_argument("--role", default="compare", help=argparse.SUPPRESS)
    options, ros_arguments = parser.parse_known_args()
    if options.role == "camera":
        run_camera(options.seconds, options.rate_hz)
    elif options.role == "consumer":
        run_consumer("fused/image_raw", options.seconds)
    elif options.role in ("relay", "stock"):
        run_relay(pairing=options.role == "stock")
    elif options.role == "node":
        return run_reference_node(options.reference_engine_ms, ros_arguments)
    else:
        return compare(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
