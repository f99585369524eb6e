"""Replays a bag offline, measures the fusion, and writes a report: `evaluate_bag`."""
