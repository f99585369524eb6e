"""The ROS 2 side of irvis_fusion: the only part that knows ROS."""
