"""The campaign uses the graph of the ROS tests."""

import os
import sys

# Fields of messages are checked on Humble always, on Jazzy only so.
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "irvis_fusion_ros"))
