"""How many files and functions of ours does one visible frame pass through in the node?

    python benchmarks/frame_path.py [--limit-files N] [--limit-functions N]

The real node runs in this process with the `nano` model and default parameters. A camera in this
process publishes pairs. After a warm-up a profiler (`sys.setprofile`, `threading.setprofile`)
records several frames, each from the start of the visible callback to the moment in which the
fused message is handed to rclpy, on the executor's thread and on the worker's thread together.

"Ours" is the code below `irvis_fusion_core` and `irvis_fusion_ros`. A function is a code object;
comprehensions belong to the function around them. The frame with the most functions is printed.
With limits, the exit status is 1 when that frame exceeds one. Needs rclpy.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import Header

import irvis_fusion_core
from benchmarks.shared.options import make_parser
from irvis_fusion_ros.node.fusion_node import FusionNode
from irvis_fusion_ros.running_node.camera_messages import make_image

ROOT = Path(irvis_fusion_core.__file__).resolve().parents[1]
OURS = tuple(str(ROOT / name) + os.sep for name in ("irvis_fusion_core", "irvis_fusion_ros"))
COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
IR_SHAPE, VIS_SHAPE = (512, 640), (480, 640, 3)
PAUSE_S = 0.05  # after each image
WARM_UP, RECORDED = 15, 10
PATIENCE_S = 60.0  # for a frame, or for the engine to open


class Call(NamedTuple):
    """A function of ours that a frame passes through."""

    file: str
    line: int
    function: str
    thread: str


def stamp_of(raw: bytes) -> bytes:
    """Return the stamp of a serialized message; no function of ours may count here."""
    return raw[4:12]


class FrameRecorder:
    """Records the functions of ours that run while a frame is on its way."""

    def __init__(self) -> None:
        # The executor runs on this thread.
        self.in_callback = self.was_called = self.published = False
        self.stamp = b""
        self._executor = threading.get_ident()
        self._calls: dict[CodeType, list[str]] | None = None

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Take an event of the interpreter, on any thread."""
        code, calls = frame.f_code, self._calls
        if event != "call" or calls is None or not code.co_filename.startswith(OURS):
            return
        on_executor = threading.get_ident() == self._executor
        handed_on = (self.in_callback or self.was_called) and not self.published
        on_its_way = self.in_callback if on_executor else handed_on
        if on_its_way and code.co_name not in COMPREHENSIONS:
            calls.setdefault(code, []).append("executor" if on_executor else "worker")

    def start(self) -> None:
        """Record the next frame."""
        self.was_called = self.published = False
        self.stamp, self._calls = b"", {}

    def watch(self, node: Any) -> None:
        """Follow both ends of a frame's way through a node that has subscribed."""
        (vis,) = (s for s in node.subscriptions if s.topic_name.startswith("/vis/image_raw"))
        (fused,) = (p for p in node.publishers if p.topic_name == "/fused/image_raw")
        callback, publish = vis.callback, fused.publish

        def on_visible(raw: bytes, info: Any) -> None:
            self.in_callback, self.stamp = True, stamp_of(raw)
            callback(raw, info)
            self.in_callback, self.was_called = False, True

        def on_fused(raw: bytes) -> None:
            # Under load, an earlier frame may come out while this one is on its way.
            self.published |= stamp_of(raw) == self.stamp
            publish(raw)

        vis.callback, fused.publish = on_visible, on_fused

    def take(self) -> dict[Call, int]:
        """Stop; return function -> number of calls, in the order of the first call."""
        calls, self._calls = self._calls or {}, None
        found = {}
        for code, threads in calls.items():
            name = getattr(code, "co_qualname", code.co_name)  # Python 3.11 and newer
            file = os.path.relpath(code.co_filename, ROOT)
            found[Call(file, code.co_firstlineno, name, threads[0])] = len(threads)
        return found


def record(parameters: Sequence[str], model: str) -> list[dict[Call, int]]:
    """Run the node and the camera; return for each recorded frame function -> number of calls.

    `parameters` are further ones of the node, `name:=value`.

    Raises:
        RuntimeError: The node did not start, or no fused image came out.
    """
    recorder = FrameRecorder()
    with ExitStack() as stack:
        context = rclpy.Context()
        # A domain of this process; numbers up to 101 are below the system's ephemeral ports.
        rclpy.init(args=[], context=context, domain_id=1 + os.getpid() % 100)
        stack.callback(rclpy.shutdown, context=context)
        threading.setprofile(recorder.profile)
        stack.callback(threading.setprofile, None)
        stack.callback(sys.setprofile, None)
        pairs = [f"model:={model}", *parameters]
        arguments = ["--ros-args", *(part for pair in pairs for part in ("-p", pair))]
        node = FusionNode(context=context, cli_args=arguments)
        camera = rclpy.create_node("frame_path_camera", context=context)
        executor = SingleThreadedExecutor(context=context)
        for each in (camera, node):
            stack.callback(each.destroy_node)
            executor.add_node(each)
        stack.callback(executor.shutdown)
        stack.callback(node.trigger_shutdown)
        if not node.start():
            raise RuntimeError("expected the node to start, found that it could not be configured")
        return _drive(node, camera, executor, recorder)


def _drive(
    node: Any, camera: Any, executor: Any, recorder: FrameRecorder
) -> list[dict[Call, int]]:
    """Publish pairs until frames are fused, then record."""
    sent: list[bytes] = []
    fused: list[bytes] = []
    camera.create_subscription(Image, "fused/image_raw", lambda m: fused.append(bytes(m.data)), 10)
    ir, vis = (camera.create_publisher(Image, name + "/image_raw", 5) for name in ("ir", "vis"))
    rng = np.random.default_rng(0)

    def spin(seconds: float = PAUSE_S) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.01)

    def send() -> None:
        header = Header(stamp=camera.get_clock().now().to_msg(), frame_id="camera")
        pixels = rng.integers(0, 256, VIS_SHAPE, np.uint8)
        ir.publish(make_image(rng.integers(0, 256, IR_SHAPE, np.uint8), "mono8", header))
        spin()
        sent.append(pixels.tobytes())
        vis.publish(make_image(pixels, "bgr8", header))

    def check_time(since_s: float) -> None:
        if time.monotonic() - since_s > PATIENCE_S:
            raise RuntimeError(f"expected fused frames within {PATIENCE_S:g} s, found none")

    start_s = time.monotonic()
    while sum(image not in sent for image in fused) < WARM_UP:
        check_time(start_s)
        send()
        spin()
    spin(10 * PAUSE_S)
    sent.clear()
    fused.clear()
    recorder.watch(node)
    sys.setprofile(recorder.profile)
    frames = []
    for _ in range(RECORDED):
        recorder.start()
        send()
        start_s = time.monotonic()
        while not (recorder.was_called and recorder.published):
            check_time(start_s)
            spin()
        frames.append(recorder.take())
        spin()
    sys.setprofile(None)
    if len(fused) < RECORDED or any(image in sent for image in fused):
        raise RuntimeError(f"expected {RECORDED} fused frames, found some passed through unfused")
    return frames


def report(frame: dict[Call, int]) -> dict[str, int]:
    """Print the functions in the order of their first call; return what may be limited."""
    print(f"{'thread':9}{'calls':>6}  {'where':59} function")
    for call, count in frame.items():
        print(f"{call.thread:9}{count:6}  {f'{call.file}:{call.line}':59} {call.function}")
    files = Counter(call.file for call in frame)
    print("\nfunctions  file")
    for file, functions in files.items():
        print(f"{functions:9}  {file}")
    print(f"\n{len(files)} files, {len(frame)} functions, {sum(frame.values())} calls")
    return {"files": len(files), "functions": len(frame)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, print, and compare with the limits; return the exit status."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--model", default="nano", help="the node's parameter `model`")
    add("--parameter", action="append", default=[], metavar="NAME:=VALUE", help="of the node")
    add("--limit-files", type=int, metavar="N")
    add("--limit-functions", type=int, metavar="N")
    options = parser.parse_args(arguments)
    status = 0
    for what, count in report(max(record(options.parameter, options.model), key=len)).items():
        limit = getattr(options, f"limit_{what}")
        if limit is not None and count > limit:
            print(f"expected at most {limit} {what}, found {count}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
