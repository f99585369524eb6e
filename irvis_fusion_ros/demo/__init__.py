"""The processes of the demo: cameras, detectors, report."""
