"""Pairing, health and time offset of two image streams; no clock, no ROS."""
