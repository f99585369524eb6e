"""Calibration frames from folders, bags and live topics."""
