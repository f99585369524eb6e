"""The process around the node: start it, spin it until a signal, and end it in order."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import SingleThreadedExecutor

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.node import end_signals
from irvis_fusion_ros.node.malloc_tuning import keep_freed_memory
from irvis_fusion_ros.node.worker import THREAD_NAME

if TYPE_CHECKING:
    from irvis_fusion_ros.node.fusion_node import FusionNode

AFTER_FAULT_S = 0.01
"""A fault that comes at each turn must not take a whole processor."""


def run(make_node: Callable[[], FusionNode], arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 when it could not be configured."""
    keep_freed_memory()
    # rclpy's handlers shut the context down before the lifecycle has ended.
    ended = end_signals.init(arguments)
    try:
        node = make_node()
    except ConfigurationError as error:
        print(f"fusion_node: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
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
    if any(thread.name == THREAD_NAME for thread in threading.enumerate()):
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
