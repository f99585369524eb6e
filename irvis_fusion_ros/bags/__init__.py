"""ROS 2 bags: read and written message by message, and walked through as the node would."""
