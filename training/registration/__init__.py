"""Training of the learned registration."""
