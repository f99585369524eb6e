"""Loss terms of the student."""
