"""Estimates how the thermal camera lies in the visible image."""
