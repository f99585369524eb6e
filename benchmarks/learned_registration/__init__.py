"""Measures the learned registration against others: see `__main__`."""
