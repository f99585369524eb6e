"""The node with the reference fusion, on a machine whose drive never answers."""

import sys
import threading

from node_with_reference_fusion import ReferenceFusion

from irvis_fusion_ros.node.fusion_node import main
from irvis_fusion_ros.pipeline import camera_files


def hang(path, name, rectified):
    """Wait without end, as reading from a network drive that is gone does."""
    threading.Event().wait()


if __name__ == "__main__":
    camera_files.read_camera_file = hang
    sys.exit(main(None, lambda settings, progress: ReferenceFusion(settings)))
