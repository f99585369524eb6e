"""The node with the reference fusion, on a machine whose /dev/shm is full."""

import sys

from node_with_reference_fusion import ReferenceFusion

from irvis_fusion_ros.node.fusion_node import main
from irvis_fusion_ros.node.startup import shared_memory

if __name__ == "__main__":
    shared_memory.room_bytes = lambda folder: 0
    sys.exit(main(None, lambda settings, progress: ReferenceFusion(settings)))
