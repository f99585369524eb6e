"""The HTML report of `evaluate_bag`."""
