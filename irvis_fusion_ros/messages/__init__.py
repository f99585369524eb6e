"""ROS image messages to arrays and back; imports no ROS."""
