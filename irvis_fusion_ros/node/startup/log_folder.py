"""The folder of ROS's log files: rclpy does not start where it cannot be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

CONSOLE_ONLY = ("--ros-args", "--disable-external-lib-logs")
"""Arguments that keep the log in the console."""


def log_folder(environment: Mapping[str, str]) -> str:
    """Return where ROS writes its log files: $ROS_LOG_DIR, $ROS_HOME/log or ~/.ros/log."""
    home = environment.get("ROS_HOME") or os.path.join("~", ".ros")
    return os.path.expanduser(environment.get("ROS_LOG_DIR") or os.path.join(home, "log"))


def why_not_writable(folder: str) -> str | None:
    """Return why no log file can be written in `folder`, which is created; else None."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return (
            f"no log file can be written in {folder} ({error.strerror}); the log goes to the"
            " console alone; set ROS_LOG_DIR to a folder that can be written"
        )
