"""How many files and functions of ours does one visible frame pass through in the node?

    python benchmarks/frame_path.py [--limit-files N] [--limit-functions N]

The real node runs in this process with the `nano` model and default parameters. A camera in this
process publishes pairs; after a warm-up a profiler (`sys.setprofile`, `threading.setprofile`)
records several frames, each from the start of the visible callback to the moment in which the
fused message is handed to rclpy, on the executor's thread and on the worker's thread together.

"Ours" is the code below `irvis_fusion_core` and `irvis_fusion_ros`. A function is a code object;
comprehensions belong to the function around them. The frame with the most functions is printed.
With limits, the exit status is 1 when that frame exceeds one. Needs rclpy.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401
import array
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

import irvis_fusion_core
from benchmarks.options import make_parser

ROOT = Path(irvis_fusion_core.__file__).resolve().parents[1]
OURS = tuple(str(ROOT / name) + os.sep for name in ("irvis_fusion_core", "irvis_fusion_ros"))
IR_SIZE, VIS_SIZE = (512, 640), (480, 640)
RATE_HZ = 10.0
WARM_UP, RECORDED = 15, 10
PATIENCE_S = 60.0
"""How long to wait for a frame, or for the engine to open."""
INNER = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")


class Call(NamedTuple):
    """A function of ours that a frame passes through."""

    file: str
    function: str
    thread: str


class FrameRecorder:
    """Records the functions of ours that run while a frame is on its way."""

    def __init__(self) -> None:
        """Record nothing yet."""
        self.frames: list[dict[CodeType, tuple[Call, int]]] = []
        """For each finished frame: code object -> (what it is, number of calls)."""
        self._calls: dict[CodeType, tuple[Call, int]] | None = None
        self._in_callback = self._was_called = self._published = False
        self._executor = threading.get_ident()

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        """Take an event of the interpreter, on any thread."""
        calls = self._calls
        if event != "call" or calls is None:
            return
        on_executor = threading.get_ident() == self._executor
        if not (self._in_callback if on_executor else not self._published):
            return
        code = frame.f_code
        if not code.co_filename.startswith(OURS) or code.co_name in INNER:
            return
        name = getattr(code, "co_qualname", code.co_name)
        thread = "executor" if on_executor else "worker"
        file = os.path.relpath(code.co_filename, ROOT)
        found, count = calls.get(code, (Call(file, name, thread), 0))
        calls[code] = (found, count + 1)

    def around_callback(self, callback: Callable[..., object]) -> Callable[..., object]:
        """Return the visible camera's callback, recorded."""

        def recorded(*arguments: object) -> object:
            self._in_callback = True
            try:
                return callback(*arguments)
            finally:
                self._in_callback = False
                self._was_called = True

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

    def finish(self, timeout_s: float, spin: Callable[[], None]) -> None:
        """Spin until the frame that was sent has been published; keep its calls.

        Raises:
            RuntimeError: it was not published in time.
        """
        end_s = time.monotonic() + timeout_s
        while not (self._was_called and self._published):
            if time.monotonic() > end_s:
                raise RuntimeError(f"expected a fused frame within {timeout_s:g} s, found none")
            spin()
        self.frames.append(self._calls or {})
        self._calls = None


def image_message(pixels: np.ndarray, stamp: Any) -> Any:
    """Return `pixels` (uint8 HxW or HxWx3 BGR) as sensor_msgs/Image."""
    from sensor_msgs.msg import Image

    message = Image(height=pixels.shape[0], width=pixels.shape[1], step=pixels.strides[0])
    message.header.stamp, message.header.frame_id = stamp, "camera"
    message.encoding = "mono8" if pixels.ndim == 2 else "bgr8"
    data = array.array("B")
    data.frombytes(pixels.reshape(-1).data)
    message.data = data
    return message


def record(parameters: list[str], model: str) -> FrameRecorder:
    """Run the node and the camera; return the recorded frames.

    Args:
        parameters: Further parameters of the node, `name:=value`.
        model: The node's parameter `model`.

    Raises:
        RuntimeError: the engine did not open, or no fused image came out.
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

    context = rclpy.Context()
    # Of this process alone: 102 domains are free of the system's ephemeral ports.
    rclpy.init(args=[], context=context, domain_id=1 + os.getpid() % 100)
    arguments = ["--ros-args", "-p", f"model:={model}"]
    for parameter in parameters:
        arguments += ["-p", parameter]
    threading.setprofile(recorder.profile)
    node = RecordedNode(context=context, cli_args=arguments)
    camera = rclpy.create_node("frame_path_camera", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(camera)
    fused: list[Any] = []
    try:
        if not node.start():
            raise RuntimeError("expected the node to start, found that it could not be configured")
        _drive(camera, executor, recorder, fused)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        node.trigger_shutdown()
        executor.shutdown()
        node.destroy_node()
        camera.destroy_node()
        rclpy.shutdown(context=context)
    return recorder


def _drive(camera: Any, executor: Any, recorder: FrameRecorder, fused: list[Any]) -> None:
    from sensor_msgs.msg import Image

    camera.create_subscription(Image, "fused/image_raw", fused.append, 10)
    ir, vis = (camera.create_publisher(Image, name + "/image_raw", 5) for name in ("ir", "vis"))
    rng = np.random.default_rng(0)

    def spin() -> None:
        executor.spin_once(timeout_sec=0.01)

    def send() -> np.ndarray:
        """Publish a pair, the thermal frame some time before the visible one."""
        ir_pixels = rng.integers(0, 256, IR_SIZE, np.uint8)
        vis_pixels = rng.integers(0, 256, (*VIS_SIZE, 3), np.uint8)
        stamp = camera.get_clock().now().to_msg()
        ir.publish(image_message(ir_pixels, stamp))
        _spin_for(0.5 / RATE_HZ, spin)
        vis.publish(image_message(vis_pixels, stamp))
        return vis_pixels

    end_s, fused_so_far = time.monotonic() + PATIENCE_S, 0
    while fused_so_far < WARM_UP:
        if time.monotonic() > end_s:
            raise RuntimeError(f"expected fused frames within {PATIENCE_S:g} s, found none")
        sent = send().tobytes()
        _spin_for(0.5 / RATE_HZ, spin)
        changed = [message for message in fused if bytes(message.data) != sent]
        fused_so_far += bool(changed)
        fused.clear()
    _spin_for(0.5, spin)
    fused.clear()
    sys.setprofile(recorder.profile)
    sent_all = []
    for _ in range(RECORDED):
        recorder.start()
        sent_all.append(send())
        recorder.finish(PATIENCE_S, spin)
        _spin_for(0.5 / RATE_HZ, spin)
    sys.setprofile(None)
    unchanged = {pixels.tobytes() for pixels in sent_all}
    if len(fused) < RECORDED or any(bytes(message.data) in unchanged for message in fused):
        raise RuntimeError(f"expected {RECORDED} fused frames, found some passed through unfused")


def _spin_for(seconds: float, spin: Callable[[], None]) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        spin()


def report(frame: dict[CodeType, tuple[Call, int]]) -> tuple[int, int]:
    """Print the functions in the order of their first call; return numbers of files, functions."""
    calls = list(frame.values())
    print(f"{'thread':9}{'calls':>6}  {'file':55} function")
    for call, count in calls:
        print(f"{call.thread:9}{count:6}  {call.file:55} {call.function}")
    files = list(dict.fromkeys(call.file for call, _ in calls))
    print("\nfunctions  file")
    for file in files:
        print(f"{sum(call.file == file for call, _ in calls):9}  {file}")
    total = sum(count for _, count in calls)
    print(f"\n{len(files)} files, {len(calls)} functions, {total} calls")
    return len(files), len(calls)


def main(arguments: list[str] | None = None) -> int:
    """Record, print, and compare with the limits; return the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="nano", help="the node's parameter `model`")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME:=VALUE", help="of the node"
    )
    parser.add_argument("--limit-files", type=int, metavar="N")
    parser.add_argument("--limit-functions", type=int, metavar="N")
    options = parser.parse_args(arguments)
    recorder = record(options.parameter, options.model)
    found = report(max(recorder.frames, key=len))
    limits = {"files": options.limit_files, "functions": options.limit_functions}
    exceeded = [
        f"expected at most {limit} {name}, found {count}"
        for (name, limit), count in zip(limits.items(), found)
        if limit is not None and count > limit
    ]
    print("".join(f"{line}\n" for line in exceeded), end="")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
