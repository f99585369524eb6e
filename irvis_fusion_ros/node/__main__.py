"""The entry of the node's process: a signal ends it in order from its first moment on.

Importing rclpy, OpenCV and the rest takes half a second, in which Python answers SIGINT with a
traceback and SIGTERM with an exit status of its own.
"""

from __future__ import annotations

import os
import signal
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 when it could not be configured."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Nothing is open yet; an exception would be swallowed or shown by an import.
        signal.signal(number, lambda number, frame: os._exit(0))
    from irvis_fusion_ros.node import fusion_node

    return fusion_node.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
