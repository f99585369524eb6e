"""Records SIGINT and SIGTERM; the loop that spins looks at the record.

rclpy's own handlers shut the context down at once, in the middle of whatever is published or
waited for. With these a process spins on until it looks, and ends in its own order.
"""

from __future__ import annotations

import signal
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

SPIN_S = 0.1
"""How soon a signal is noticed when nothing else happens."""


def init(arguments: list[str] | None) -> list[int]:
    """Initialise rclpy; returns where the signals that came will be listed."""
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: received.append(number))
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    return received


def spin(node: Any, received: list[int]) -> None:
    """Spin `node` until a signal came. What a callback raises ends it."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not received and rclpy.ok():
        executor.spin_once(timeout_sec=SPIN_S)
    executor.remove_node(node)
    executor.shutdown()
