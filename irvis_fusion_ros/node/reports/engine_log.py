"""What the log says of the engine's state, and never at frame rate."""

from __future__ import annotations

import time
from typing import Any

from irvis_fusion_ros.node.engine_state import FAILED, READY, WARMING_UP

WARM_UP_LOG_S = 1.0
"""The shortest time between two log lines on a warm-up."""


class EngineLog:
    """Logs changes of the engine's state; called on the worker's thread."""

    def __init__(self, get_logger: Any) -> None:
        """Log to what `get_logger()` returns."""
        self._get_logger = get_logger
        self._tell, self._tell_warm_up_from_s = True, 0.0

    def on_state(self, state: str, reason: str) -> None:
        """Tell that the engine is now in `state`, for `reason`."""
        text = "engine {}{}".format(state, ": " + reason if reason else "")
        if state == FAILED:
            self._get_logger().error(text + "; the visible image passes through")
            return
        if state == WARMING_UP:  # at frame rate, where a camera changes its size at each frame
            self._tell = time.monotonic() >= self._tell_warm_up_from_s
            if self._tell:
                self._tell_warm_up_from_s = time.monotonic() + WARM_UP_LOG_S
        elif state != READY:
            self._tell = True
        if self._tell:
            self._get_logger().info(text)
