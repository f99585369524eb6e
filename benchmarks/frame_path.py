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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

import irvis_fusion_core
from benchmarks.shared.options import make_parser

ROOT = Path(irvis_fusion_core.__file__).resolve().parents[1]
OURS = tuple(str(ROOT / name) + os.sep for name in ("irvis_fusion_core", "irvis_fusion_ros"))
COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
IR_SHAPE, VIS_SHAPE = (512, 640), (480, 640, 3)
PAUSE_S = 0.05
"""After each image."""
WARM_UP, RECORDED = 15, 10
PATIENCE_S = 60.0
"""How long to wait for a frame, or for the engine to open."""


class Call(NamedTuple):
    """A function of ours that a frame passes through."""

    file: str
    line: int
    function: str
    thread: str


class FrameRecorder:
    """Records the functions of ours that run while a frame is on its way."""

    def __init__(self) -> None:
        """Record nothing yet; the executor runs on this thread."""
        self._executor = threading.get_ident()
        self._calls: dict[CodeType, list[str]] | None = None
        self._in_callback = self._was_called = self._published = False

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Take an event of the interpreter, on any thread."""
        code, calls = frame.f_code, self._calls
        if event != "call" or calls is None or not code.co_filename.startswith(OURS):
            return
        on_executor = threading.get_ident() == self._executor
        handed_on = (self._in_callback or self._was_called) and not self._published
        on_its_way = self._in_callback if on_executor else handed_on
        if on_its_way and code.co_name not in COMPREHENSIONS:
            calls.setdefault(code, []).append("executor" if on_executor else "worker")

    def around_callback(self, callback: Callable[..., object]) -> Callable[..., None]:
        """Return the visible camera's callback, recorded."""

        def recorded(*arguments: object) -> None:
            self._in_callback = True
            callback(*arguments)
            self._in_callback, self._was_called = False, True

        return recorded

    def around_publish(self, publish: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return the fused image's `publish`, which ends a frame."""

        def recorded(message: Any) -> None:
            self._published = True
            publish(message)

        return recorded

    def start(self) -> None:
        """Record the next frame."""
        self._was_called = self._published = False
        self._calls = {}

    def ended(self) -> bool:
        """Return whether the frame has come out and its callback has returned."""
        return self._was_called and self._published

    def take(self) -> dict[Call, int]:
        """Stop; return function -> number of calls, in the order of the first call."""
        calls, self._calls = self._calls or {}, None
        return {_named(code, found[0]): len(found) for code, found in calls.items()}


def _named(code: CodeType, thread: str) -> Call:
    name = getattr(code, "co_qualname", code.co_name)  # Python 3.11 and newer
    return Call(os.path.relpath(code.co_filename, ROOT), code.co_firstlineno, name, thread)


def record(parameters: Sequence[str], model: str) -> list[dict[Call, int]]:
    """Run the node and the camera; return for each recorded frame function -> number of calls.

    Args:
        parameters: Further parameters of the node, `name:=value`.
        model: The node's parameter `model`.

    Raises:
        RuntimeError: The node did not start, or no fused image came out.
    """
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from irvis_fusion_ros.node.fusion_node import FusionNode

    recorder = FrameRecorder()

    class RecordedNode(FusionNode):
        """The node, with the two ends of a frame's way recorded."""

        def create_subscription(self, *arguments: Any, **options: Any) -> Any:
            kind, topic, callback, *rest = arguments
            if self.resolve_topic_name(topic).startswith("/vis/image_raw"):
                callback = recorder.around_callback(callback)
            return super().create_subscription(kind, topic, callback, *rest, **options)

        def create_lifecycle_publisher(self, *arguments: Any, **options: Any) -> Any:
            publisher = super().create_lifecycle_publisher(*arguments, **options)
            if self.resolve_topic_name(arguments[1]) == "/fused/image_raw":
                publisher.publish = recorder.around_publish(publisher.publish)
            return publisher

    arguments = ["--ros-args", "-p", f"model:={model}"]
    for parameter in parameters:
        arguments += ["-p", parameter]
    with ExitStack() as stack:
        context = rclpy.Context()
        # A domain of this process; numbers up to 101 are below the system's ephemeral ports.
        rclpy.init(args=[], context=context, domain_id=1 + os.getpid() % 100)
        stack.callback(rclpy.shutdown, context=context)
        threading.setprofile(recorder.profile)
        stack.callback(threading.setprofile, None)
        stack.callback(sys.setprofile, None)
        node = RecordedNode(context=context, cli_args=arguments)
        camera = rclpy.create_node("frame_path_camera", context=context)
        executor = SingleThreadedExecutor(context=context)
        for each in (camera, node):
            stack.callback(each.destroy_node)
            executor.add_node(each)
        stack.callback(executor.shutdown)
        stack.callback(node.trigger_shutdown)
        if not node.start():
            raise RuntimeError("expected the node to start, found that it could not be configured")
        return _drive(camera, executor, recorder)


def _drive(camera: Any, executor: Any, recorder: FrameRecorder) -> list[dict[Call, int]]:
    """Publish pairs until frames are fused, then record."""
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from irvis_fusion_ros.running_node.camera_messages import make_image

    sent: list[bytes] = []
    fused: list[bytes] = []
    camera.create_subscription(Image, "fused/image_raw", lambda m: fused.append(bytes(m.data)), 10)
    ir, vis = (camera.create_publisher(Image, name + "/image_raw", 5) for name in ("ir", "vis"))
    rng = np.random.default_rng(0)

    def spin(seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.01)

    def send() -> None:
        header = Header(stamp=camera.get_clock().now().to_msg(), frame_id="camera")
        pixels = rng.integers(0, 256, VIS_SHAPE, np.uint8)
        ir.publish(make_image(rng.integers(0, 256, IR_SHAPE, np.uint8), "mono8", header))
        spin(PAUSE_S)
        sent.append(pixels.tobytes())
        vis.publish(make_image(pixels, "bgr8", header))

    def spin_until(condition: Callable[[], bool], each_time: Callable[[], None]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end_s:
                raise RuntimeError(f"expected a fused frame within {PATIENCE_S:g} s, found none")
            each_time()
            spin(PAUSE_S)

    spin_until(lambda: sum(image not in sent for image in fused) >= WARM_UP, send)
    spin(10 * PAUSE_S)
    sent.clear()
    fused.clear()
    sys.setprofile(recorder.profile)
    frames = []
    for _ in range(RECORDED):
        recorder.start()
        send()
        spin_until(recorder.ended, lambda: None)
        frames.append(recorder.take())
        spin(PAUSE_S)
    sys.setprofile(None)
    if len(fused) < RECORDED or any(image in sent for image in fused):
        raise RuntimeError(f"expected {RECORDED} fused frames, found some passed through unfused")
    return frames


def report(frame: dict[Call, int]) -> dict[str, int]:
    """Print the functions in the order of their first call; return how many there are of what."""
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
