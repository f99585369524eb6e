"""Demo scenes that need no data."""
