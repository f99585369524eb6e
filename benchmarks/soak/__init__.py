"""The node suffers faults at random for minutes; see `python -m benchmarks.soak --help`."""
