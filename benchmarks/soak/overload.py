"""What becomes of the frames beyond what the machine can do."""

from __future__ import annotations

import argparse
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.soak.samples import percentiles
from irvis_fusion_ros.running_node.child_process import ChildProcess
from irvis_fusion_ros.running_node.environment import make_environment
from training.tables import markdown_table


class Load(NamedTuple):
    """What is demanded of the node: images of this size at this rate, in frames."""

    size: tuple[int, int]
    rate_hz: float
    participants: int = 0


LOADS = {
    "1280x1024 from both cameras at 60 Hz": Load((1024, 1280), 60.0),
    "160x120 from both cameras at 200 Hz": Load((120, 160), 200.0),
    "640x480 at 30 Hz, 30 participants come and go": Load((480, 640), 30.0, 30),
}


def sender(scene: Any, size: tuple[int, int]) -> Callable[[], None]:
    """Return what publishes a numbered pair of this size, without making messages anew."""
    from graph import image_message
    from rclpy.serialization import serialize_message

    rng = np.random.default_rng(0)
    shapes = {"vis": (*size, 3), "ir": size}
    pixels = {name: rng.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}
    templates = {
        name: bytearray(serialize_message(image_message(image, scene.now(), "vis_000000")))
        for name, image in pixels.items()
    }
    count = 0

    def send() -> None:
        nonlocal count
        count += 1
        stamp = scene.now()
        number = scene.ledger.number("vis", None, altered=True)
        for name in ("ir", "vis"):
            template = templates[name]
            struct.pack_into("<iI", template, 4, stamp.sec, stamp.nanosec)
            template[20:26] = b"%06d" % number
            template[-size[1] :] = (
                bytes([count % 256]) * size[1]
            )  # no image is like the one before
            scene.publishers[name].publish(bytes(template))

    return send


def run_guests(count: int) -> None:
    """Let participants join and leave, at most three at a time."""
    import rclpy

    present: list[rclpy.Context] = []
    for number in range(count + 3):
        if number < count:
            present.append(rclpy.Context())
            rclpy.init(context=present[-1])
            rclpy.create_node(f"guest_{number}", context=present[-1])
        if present and (len(present) == 3 or number >= count):
            rclpy.shutdown(context=present.pop(0))
        time.sleep(0.1)


def guests(scene: Any, count: int, folder: Path) -> ChildProcess:
    """Return a process from which participants join the scene's domain and leave."""
    environment = make_environment(scene.domain)
    arguments = ["-m", "benchmarks.soak", "--guests", str(count)]
    return ChildProcess("guests", arguments, environment, log_path=folder / "guests.log")


def overload(options: argparse.Namespace, folder: Path) -> str:
    """Return the table of what becomes of the frames beyond what can be done."""
    from faults.scene import Scene

    rows: dict[str, list[object]] = {}
    for name, load in LOADS.items():
        place = Path(tempfile.mkdtemp(dir=folder))
        scene = Scene(place)
        try:
            depths = {"vis_qos.depth": 10, "ir_qos.depth": 5, "output_qos.depth": 5}
            scene.start_node(depths)
            scene.settle()
            send = sender(scene, load.size)
            for _ in range(10):  # the engine sees the size, and the discovery ends
                send()
                scene.spin(0.2)
            scene.account()
            scene.ledger.open(scene.counts())
            with guests(scene, load.participants, place) as others:
                start_s, due, elapsed_s = time.monotonic(), 0, 0.0
                while elapsed_s < options.seconds or others.exit_status is None:
                    elapsed_s = time.monotonic() - start_s
                    if elapsed_s * load.rate_hz >= due:
                        due += 1
                        send()
                    scene.executor.spin_once(timeout_sec=0.0005)
            others.check_succeeded()
            rows[name] = overload_row(scene, load, elapsed_s)
        finally:
            scene.close()
    columns = ["published, of those asked for", "fused", "passed", "dropped", "lost by cause"]
    columns += ["arrived, of those that left", "order", "p50, p99 in periods"]
    return markdown_table(columns, rows, corner="overload")


def overload_row(scene: Any, load: Load, seconds: float) -> list[object]:
    """Return the cells of one load; asserts that every frame is accounted for."""
    latencies_s = list(scene.ledger.latencies_s)
    for _ in range(20):
        scene.send_thermal()
        scene.send_visible()  # the first message behind a gap tells of it
        scene.spin(0.2)
        account = scene.ledger.account(scene.counts())
        if account.published == sum(account.ends.values()):
            break
    scene.spin(1.0)
    account = scene.ledger.account(scene.counts())
    assert account.published == sum(account.ends.values()), account
    scene.ledger.check_order()
    left = account.total("fused") + account.total("passed")
    lost = {end[6:]: n for end, n in account.ends.items() if end.startswith("lost: ")}
    p50, p99 = percentiles(latencies_s, load.rate_hz)
    return [
        f"{account.published}, {account.published / (load.rate_hz * seconds):.0%}",
        str(account.total("fused")),
        str(account.total("passed")),
        str(account.total("dropped")),
        ", ".join(f"{cause} {n}" for cause, n in lost.items()) or "0",
        f"{len(scene.ledger.out) / max(1, left):.1%}",
        "kept",
        f"{p50:.1f}, {p99:.1f}",
    ]
