"""The process around the node: start it, spin it until a signal, and end it in order."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.utilities import remove_ros_args

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.node import decode_thread, end_signals
from irvis_fusion_ros.node.executor import make_executor
from irvis_fusion_ros.node.malloc_tuning import keep_freed_memory
from irvis_fusion_ros.node.startup.log_folder import CONSOLE_ONLY, log_folder, why_not_writable
from irvis_fusion_ros.node.startup.shared_memory import own_segment
from irvis_fusion_ros.node.worker import THREAD_NAME
from irvis_fusion_ros.parameters.settings import TABLE
from irvis_fusion_ros.parameters.settings_file import read_yaml, settings_of_arguments

if TYPE_CHECKING:
    from irvis_fusion_ros.node.fusion_node import FusionNode

HELP = """examples:
  ros2 run irvis_fusion node --ros-args -r ir/image_raw:=/boson/image_raw -p model:=small
  ros2 run irvis_fusion node --ros-args --params-file boson.yaml --log-level warn
  ros2 launch irvis_fusion fusion.launch.py --show-args

parameters (meaning and limits: python3 -m irvis_fusion_ros.parameters --markdown):
"""
ROS_OPTIONS = ("params-file", "log-level", "remap", "param", "enclave")

AFTER_FAULT_S = 0.01
"""A fault that comes at each turn must not take a whole processor."""


def run(make_node: Callable[[], FusionNode], arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 when it could not be configured."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_freed_memory()
    no_log_file = why_not_writable(log_folder(os.environ))
    options = [] if no_log_file is None else CONSOLE_ONLY
    with own_segment(settings_of_arguments(arguments).topics) as memory:
        try:
            refuse_other_options(remove_ros_args(arguments))
            # rclpy's handlers shut the context down before the lifecycle has ended.
            ended = end_signals.init([*arguments, *options])
        except Exception as error:  # noqa: BLE001 - rclpy has many, of many bases
            print(f"fusion_node: {why_not_started(arguments, error)}", file=sys.stderr)
            return 1
        try:
            node = make_node()
        except ConfigurationError as error:
            print(f"fusion_node: {error}", file=sys.stderr)
            rclpy.shutdown()
            return 1
    if no_log_file is not None:
        node.note("log folder", no_log_file)
    for problem in memory.problems:
        node.note("shared memory", problem)
    for fact in memory.facts:
        node.get_logger().info(fact)
    executor = make_executor()
    executor.add_node(node)
    result = 0
    if node.get_parameter("autostart").value and not node.start():
        result = 1
    while not ended and result == 0 and rclpy.ok():
        spin_once(executor, node)
    if node.state_label != "finalized":
        node.trigger_shutdown()
    executor.remove_node(node)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    left = {thread.name for thread in threading.enumerate()}
    if left & {THREAD_NAME, decode_thread.THREAD_NAME}:
        # An engine builder cannot be interrupted, and must not meet a dying interpreter.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(result)
    return result


def spin_once(executor: SingleThreadedExecutor, node: FusionNode) -> None:
    """Run what is due. The node's callbacks are guarded, so what is raised comes from rclpy."""
    try:
        executor.spin_once(timeout_sec=end_signals.SPIN_S)
    except Exception as error:  # noqa: BLE001 - counted and logged once a kind; see recover
        node.recover(error)
        time.sleep(AFTER_FAULT_S)


def refuse_other_options(arguments: Sequence[str]) -> None:
    """Show the help, or end with exit status 2 where `arguments`, those not of ROS, are any."""
    parser = argparse.ArgumentParser(
        prog="fusion_node",
        usage="%(prog)s [-h] [--ros-args ...]",
        description="Fuse ir/image_raw into vis/image_raw and publish fused/image_raw.",
        epilog=HELP + "".join(f"  {spec.name} := {spec.default!r}\n" for spec in TABLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0].partition(":")[0]
        known = {spec.name: f"-p {spec.name}:=VALUE" for spec in TABLE}
        known.update((option, f"--{option} VALUE") for option in ROS_OPTIONS)
        close = difflib.get_close_matches(name, known, 1) or ["param"]
        parser.error(
            f"expected ROS arguments alone, found {unknown[0]}; did you mean"
            f" `--ros-args {known[close[0]]}`?"
        )


def why_not_started(arguments: Sequence[str], error: Exception) -> str:
    """Return a sentence for what rclpy raised at `arguments`."""
    for option, path in zip(arguments, arguments[1:]):
        if option == "--params-file":
            try:
                read_yaml(path)
            except ConfigurationError as reason:
                return str(reason)
    return str(error).partition(", at /")[0]
