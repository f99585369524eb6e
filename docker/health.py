"""Exit with status 0 if the fusion node reports that images leave it; print what it reports.

The node reports ERROR while no image leaves it. A visible image that passes unfused is no fault of
the container. `health.py SECONDS` waits that long for a report.
"""

import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus


def main():
    """Wait for one report of a node that fuses; return the exit status."""
    patience_s = float((*sys.argv[1:], "10")[0])
    reports = []
    rclpy.init()
    node = rclpy.create_node("fusion_health")
    node.create_subscription(DiagnosticArray, "/diagnostics", reports.append, 10)
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.2)
        for report in reports:
            for status in report.status:
                if status.name.endswith(": fusion"):
                    print(f"{status.name}: {status.message}")
                    return int(status.level >= DiagnosticStatus.ERROR)
        reports.clear()
    print(f"no report of a fusion node on /diagnostics within {patience_s:g} s")
    return 1


if __name__ == "__main__":
    sys.exit(main())
